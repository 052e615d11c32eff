"""Classifiers from model folders, sound and damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from ait_lite.checkpoint import bundled_models
from service.model_process.classifier import Classifier
from service.repository.folders import ModelError, locate
from tests.support.images.service_images import scene


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def answer(folder: Path) -> dict[str, float]:
    return dict(Classifier(locate(folder)).classify([scene()])[0])


def test_half_precision_on_disk(folder: Path) -> None:
    expected = answer(folder)
    weights = load_file(folder / "model.safetensors")
    save_file({name: tensor.half() for name, tensor in weights.items()}, folder / "model.safetensors")
    assert answer(folder) == pytest.approx(expected, abs=5e-3)


def test_labels(folder: Path) -> None:
    edit(folder, label_names={"0": "zero", "2": "two"})
    assert set(answer(folder)) == {"zero", "1", "two"}
    edit(folder, label_names=None)
    assert set(answer(folder)) == {"0", "1", "2"}
    edit(folder, label_names=["a", "b"])
    with pytest.raises(ModelError, match="list of 3 names"):
        answer(folder)


def test_a_grey_model(tmp_path: Path) -> None:
    model = timm.create_model("test_vit", num_classes=2, in_chans=1, img_size=32)
    data_config = {"input_size": (1, 32, 32)}
    timm.models.save_for_hf(model, tmp_path / "grey", data_config=data_config, safe_serialization=True)
    classifier = Classifier(locate(tmp_path / "grey"))
    assert classifier.input_size == (1, 32, 32)
    assert classifier.prepare(scene()).shape == (1, 32, 32)


def test_any_timm_classifier(tmp_path: Path) -> None:
    model = timm.create_model("test_resnet", num_classes=4)
    timm.models.save_for_hf(model, tmp_path / "7", safe_serialization=True)
    classifier = Classifier(locate(tmp_path / "7"), max_batch=2)
    assert (classifier.folder.name, classifier.folder.version) == (tmp_path.name, "7")
    answers = classifier.classify([scene(), Image.new("RGB", (300, 20)), scene()], top_k=2)
    assert [len(each) for each in answers] == [2, 2, 2]
    assert dict(answers[0]) == pytest.approx(dict(answers[2]), abs=1e-5)


def test_bundled_models() -> None:
    assert bundled_models()
    assert locate(None) == locate(next(iter(bundled_models())))
    for name in bundled_models():
        classifier = Classifier(locate(name))
        assert classifier.folder.name == name
        assert classifier.classify([scene()], top_k=1)[0][0][0] in classifier.labels


@pytest.mark.parametrize(
    "damage", ["weights", "torn", "no weights", "config", "list", "architecture", "classes", "nan"]
)
def test_damaged_models(folder: Path, damage: str) -> None:
    weights = folder / "model.safetensors"
    if damage == "weights":
        weights.write_bytes(b"nonsense")
    elif damage == "torn":
        weights.write_bytes(weights.read_bytes()[:-1000])
    elif damage == "no weights":
        weights.unlink()
        torch.save({}, folder / "pytorch_model.bin")  # pickles are not taken instead
    elif damage == "config":
        (folder / "config.json").write_text("{")
    elif damage == "list":
        (folder / "config.json").write_text("[]")
    elif damage == "architecture":
        edit(folder, architecture="no_such_model")
    elif damage == "classes":
        edit(folder, num_classes=5, model_args={"num_classes": 5})
    else:
        tensors = load_file(weights)
        tensors["head.bias"][:] = torch.nan
        save_file(tensors, weights)
    with pytest.raises(ModelError) as caught:
        Classifier(locate(folder))
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
