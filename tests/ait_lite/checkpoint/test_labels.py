"""Class names of a checkpoint."""

import pytest

from ait_lite.checkpoint import CheckpointError, label_names, named_labels


def test_class_names() -> None:
    names = {"label_names": {"10": "k", "2": "c"}}
    assert named_labels(names) == ("c", "k")
    assert label_names(names, 4) == ["0", "1", "c", "3"]
    assert label_names({"pretrained_cfg": {"label_names": ["a", "b"]}}, 2) == ["a", "b"]
    assert label_names({}, 2) == ["0", "1"]
    assert named_labels({"pretrained_cfg": None}) == ()
    for wrong in (["a"], "ab", 3):
        with pytest.raises(CheckpointError, match="list of 2 names"):
            label_names({"label_names": wrong}, 2)
