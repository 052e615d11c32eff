"""How priors' gates are compared over epochs."""

import pytest
import torch

from training.experiments.blocks.write_maps import overlap, train_and_look


def test_overlap_tells_priors_that_read_alike() -> None:
    assert overlap(torch.ones(3, 2, 4)) == pytest.approx(1)
    assert overlap(torch.eye(4).unflatten(1, (2, 2))) == pytest.approx(0)


def test_gates_are_kept_after_the_epochs_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(128, 3, 8, 8, generator=generator)
    labels = torch.arange(128) % 2
    found = train_and_look("published", images, labels, images[:4], 2, (0, 2), seed=0)
    assert list(found) == [0, 2]
    assert found[0].shape == (2, 16, 4, 64)
    assert not torch.equal(found[0], found[2])
