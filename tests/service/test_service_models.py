"""Model folders, settings, and prediction without a server."""

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
from service.predict import predict_files
from service.repository.folders import ModelError, locate
from service.settings import Settings, SettingsError, load_settings
from tests.support.service_client import LABELS
from tests.support.service_images import encode, scene


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


def test_missing_models(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(ModelError, match=r"config\.json") as caught:
            locate(path)
        assert str(path) in str(caught.value)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ModelError, match="is not a folder"):
        locate(file)


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


def test_predict_files_names_what_it_cannot_use(model_folder: Path, tmp_path: Path) -> None:
    good, text, missing = tmp_path / "good.png", tmp_path / "notes.txt", tmp_path / "missing.png"
    good.write_bytes(encode(scene()))
    text.write_text("hello")
    found = predict_files([text, good, missing, tmp_path], model=model_folder, top_k=1)
    assert [each.path for each in found] == [text, good, missing, tmp_path]
    assert [bool(each.labels) for each in found] == [False, True, False, False]
    assert found[1].error is None
    assert found[1].labels[0][0] in LABELS
    for each in (found[0], found[2], found[3]):
        assert str(each.path) in str(each.error)
    assert predict_files([], model=model_folder) == []


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("AIT_MODEL", "somewhere")
    monkeypatch.setenv("AIT_MAX_PIXELS", "1000")
    monkeypatch.setenv("AIT_TOP_K", "")
    settings = load_settings(port=None, model="elsewhere")
    assert (settings.host, settings.port, settings.model) == ("0.0.0.0", 9000, "elsewhere")
    assert (settings.max_pixels, settings.top_k) == (1000, 5)


@pytest.mark.parametrize(("name", "value"), [("PORT", "99999"), ("AIT_MAX_FILES", "0"), ("AIT_MAX_BATCH", "many")])
def test_wrong_settings_are_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert value in str(caught.value)


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert f"AIT_{name.upper()}" in (field.description or ""), name
