"""Fingerprints of checkpoints."""

import json
from pathlib import Path

import pytest

from ait_lite.checkpoint import CheckpointError, fingerprint


def write(folder: Path, weights: bytes = b"weights", mean: float = 0.5, **values: object) -> Path:
    folder.mkdir()
    config = {"architecture": "vit", "pretrained_cfg": {"mean": [mean], "std": [1.0]}, **values}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_weights_and_preprocessing_decide_and_nothing_else(tmp_path: Path) -> None:
    one = fingerprint(write(tmp_path / "one"))
    assert one == fingerprint(write(tmp_path / "two", temperature=2.0, label_names=["a"]))
    assert one != fingerprint(write(tmp_path / "three", weights=b"others"))
    assert one != fingerprint(write(tmp_path / "four", mean=0.4))
    (tmp_path / "one" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        fingerprint(tmp_path / "one")
