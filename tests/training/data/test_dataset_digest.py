"""A run that continues knows whether its images are the same, and which are not."""

from __future__ import annotations

from pathlib import Path

import torch

from training.data import LabelledImages
from training.data.sources.splits import dataset_digest, describe_changes


def images(*names: str) -> LabelledImages:
    labels = torch.tensor([int(name[0] == "b") for name in names])
    return LabelledImages(Path("x"), ("ant", "bee"), names, labels)


def test_changes_are_named() -> None:
    training, validation = images("a/0", "a/1", "b/0"), images("a/2", "b/1")
    before = dataset_digest(training), dataset_digest(validation)
    assert describe_changes(training, validation, *before) is None
    assert describe_changes(images("a/0", "a/1", "b/0", "b/7"), validation, *before) == "1 new (b/7)"
    assert describe_changes(images("a/0", "b/0"), validation, *before) == "1 gone or renamed"
    swapped = describe_changes(images("a/0", "a/2", "b/0"), images("a/1", "b/1"), *before)
    assert swapped == "2 on the other side (a/2 from validation to training, a/1 from training to validation)"
    order = describe_changes(images("a/1", "a/0", "b/0"), validation, *before)
    assert order == "the same images in another order"


def test_another_label_is_another_image() -> None:
    samples = images("a/0", "b/0")
    relabelled = LabelledImages(samples.origin, samples.classes, samples.names, 1 - samples.labels)
    assert not torch.equal(dataset_digest(samples), dataset_digest(relabelled))
    assert dataset_digest(samples.select([])).shape == (0,)
