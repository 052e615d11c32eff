"""A run that continues knows whether its images are the same, and which are not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from training.data import LabelledImages
from training.data.sources.splits import SplitDigest, dataset_digest, describe_changes


def images(*names: str) -> LabelledImages:
    labels = torch.tensor([int(name[0] == "b") for name in names])
    return LabelledImages(Path("x"), ("ant", "bee"), names, labels)


def in_folders(*names: str) -> LabelledImages:
    labels = torch.tensor([int(name.startswith("bee/")) for name in names])
    return LabelledImages(Path("x"), ("ant", "bee"), names, labels)


def test_changes_are_named() -> None:
    training, validation = images("a/0", "a/1", "b/0"), images("a/2", "b/1")
    before = SplitDigest.of(training, validation)
    assert describe_changes(training, validation, before) is None
    assert describe_changes(images("a/0", "a/1", "b/0", "b/7"), validation, before) == "1 new (b/7)"
    assert describe_changes(images("a/0", "b/0"), validation, before) == "1 gone or renamed"
    swapped = describe_changes(images("a/0", "a/2", "b/0"), images("a/1", "b/1"), before)
    assert swapped == "2 on the other side (a/2 from validation to training, a/1 from training to validation)"
    order = describe_changes(images("a/1", "a/0", "b/0"), validation, before)
    assert order == "the same images in another order"


def test_a_relabelled_image_is_called_so() -> None:
    """As in a table, where a label changes and the name stays."""
    training, validation = images("a/0", "a/1", "b/0"), images("a/2", "b/1")
    before = SplitDigest.of(training, validation)
    relabelled = replace(training, labels=torch.tensor([0, 1, 1]))
    assert describe_changes(relabelled, validation, before) == "1 relabelled (a/1)"
    before = SplitDigest.of(in_folders("ant/0", "ant/1", "bee/2"), validation)
    assert describe_changes(in_folders("ant/0", "bee/1", "bee/2"), validation, before) == "1 relabelled (bee/1)"
    assert describe_changes(in_folders("ant/0", "ant/1", "bee/1", "bee/2"), validation, before) == "1 new (bee/1)"
    assert dataset_digest(training.select([])).shape == (0, 2)
