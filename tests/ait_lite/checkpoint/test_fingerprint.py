"""Fingerprints of checkpoints."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from ait_lite.checkpoint import CheckpointError, bundled_models, fingerprint
from ait_lite.runtimes import read_prepared


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


def test_a_graph_without_weights_has_the_fingerprint_of_what_it_was_made_of(tmp_path: Path) -> None:
    folder = write(tmp_path / "one")
    before = fingerprint(folder)
    (folder / "model.safetensors").unlink()
    manifest = folder / "graph.json"
    manifest.write_text(json.dumps({"weights": hashlib.sha256(b"weights").hexdigest()}))
    assert fingerprint(folder) == before
    manifest.write_text(json.dumps({"weights": hashlib.sha256(b"others").hexdigest()}))
    assert fingerprint(folder) != before
    for damaged in ('{"weights": ""}', '{"weights": "no digest"}', "{}", "[]", "[" * 100_000):
        manifest.write_text(damaged)
        with pytest.raises(CheckpointError, match=r"graph\.json .* Export"):
            fingerprint(folder)


def test_the_bundled_models_graphs_give_features_of_its_fingerprint(tmp_path: Path) -> None:
    folder = bundled_models()["ait_tiny_patch4_32.cifar10"]
    prepared = shutil.copytree(folder, tmp_path / "prepared", ignore=shutil.ignore_patterns("model.safetensors"))
    assert fingerprint(prepared) == fingerprint(folder)
    assert read_prepared(prepared).num_features
