"""The memorisation measure, and one training of the experiment."""

import torch

from training.experiments.energies.data_fraction import measure, memorisation_auc


def test_the_auc_is_the_share_of_pairs_in_order() -> None:
    near, far = torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0])
    assert memorisation_auc(near, far) == (1 + 1 + 0.5 + 1) / 4
    assert memorisation_auc(near, near) == 0.5
    assert memorisation_auc(far, near + 5) == 1.0


def test_a_few_points_are_memorised() -> None:
    torch.manual_seed(0)
    found = measure(0.01, steps=150, seed=0)
    assert found["train loss"] < 0.1 < found["test loss"]
    assert found["AUC"] > 0.7
