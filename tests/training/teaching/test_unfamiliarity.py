"""Measures of scores against counting."""

import pytest
import torch

from training.teaching.unfamiliarity import (
    auroc,
    false_positive_rate,
    kth_distance,
    logit_energy,
    max_softmax,
)


def test_auroc_is_the_share_of_pairs_in_order() -> None:
    generator = torch.Generator().manual_seed(0)
    known, unknown = torch.randint(5, (40,), generator=generator), torch.randint(2, 7, (30,), generator=generator)
    pairs = (known[:, None] < unknown).double() + 0.5 * (known[:, None] == unknown).double()
    assert auroc(known, unknown) == pytest.approx(float(pairs.mean()))
    assert auroc(known, known) == pytest.approx(0.5)
    assert auroc(known, unknown) == pytest.approx(1 - auroc(unknown, known))


def test_false_positives_pass_where_the_known_do() -> None:
    known = torch.arange(100.0)
    assert false_positive_rate(known, torch.tensor([94.0, 95.0, 95.5, 200.0])) == 0.5
    assert false_positive_rate(known, known + 1000) == 0
    assert false_positive_rate(known, known - 1000) == 1


def test_scores_of_logits() -> None:
    logits = torch.tensor([[0.0, 0.0], [10.0, 0.0]])
    torch.testing.assert_close(max_softmax(logits), -torch.tensor([0.5, torch.sigmoid(torch.tensor(10.0)).item()]))
    assert logit_energy(logits)[0] > logit_energy(logits)[1]


def test_the_kth_distance() -> None:
    stored = torch.tensor([[0.0], [1.0], [3.0]])
    assert kth_distance(torch.zeros(1, 1), stored, 2).tolist() == [1.0]
    assert kth_distance(torch.zeros(1, 1), stored, 9).tolist() == [3.0]
