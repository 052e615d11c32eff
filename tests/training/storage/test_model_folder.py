"""A model folder gives back the model that was saved, or is refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import ait_lite.checkpoint
from tests.support.models.training_models import small_model
from training.data import Preprocessing
from training.errors import CheckpointError
from training.storage.model_folder import load_model, missing_files, save_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = small_model("ait_tiny_patch4_32")
    config = Preprocessing.of_model(model, crop_pct=0.9).data_config()
    save_model(tmp_path / "best", model, model.state_dict(), config, ("ant", "bee", "cat"), {"epoch": 3})
    return tmp_path / "best"


def test_a_model_survives_the_disk(folder: Path) -> None:
    loaded, saved = load_model(folder), small_model("ait_tiny_patch4_32").eval()
    images = torch.randn(2, 3, 16, 16)
    assert torch.equal(loaded(images), saved(images))
    assert Preprocessing.of_model(loaded).crop_pct == 0.9
    config = ait_lite.checkpoint.read_config(folder)
    assert ait_lite.checkpoint.named_labels(config) == ("ant", "bee", "cat")
    assert config["metrics"] == {"epoch": 3}
    assert [path.name for path in folder.parent.iterdir()] == ["best"]


def test_the_saved_model_keeps_its_own_weights(tmp_path: Path) -> None:
    model = small_model("vit_tiny_patch16_224")
    others = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    before = model.head.weight.clone()
    save_model(tmp_path / "best", model, others, Preprocessing.of_model(model).data_config(), "abc", {})
    assert torch.equal(model.head.weight, before)
    assert not load_model(tmp_path / "best").get_parameter("head.weight").any()


def test_what_is_lacking_or_torn_is_refused_by_name(folder: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with pytest.raises(CheckpointError, match=r"lacks config\.json and model\.safetensors$"):
        load_model(nothing)
    with pytest.raises(CheckpointError, match=r"; did you mean .*/best\?"):
        load_model(folder.parent)
    assert missing_files(folder) == []
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"architecture": "no_such_model"}))
    with pytest.raises(CheckpointError, match=f"{folder}: cannot be loaded"):
        load_model(folder)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_classes": 5}, "says 5 classes in num_classes and 3 in model_args"),  # timm would leave the head random
        ({"num_classes": -1}, "cannot be loaded"),
        ({"pretrained_cfg": None}, "cannot be loaded"),
        ({"model_args": [1]}, "cannot be loaded"),
        ({"architecture": 5}, "cannot be loaded"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(folder: Path, changes: dict[str, Any], reason: str) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CheckpointError, match=reason):
        load_model(folder)


@pytest.mark.parametrize(("text", "reason"), [("[]", "it is not a JSON object"), ("{", "")])
def test_a_configuration_that_is_none_is_refused_by_name(folder: Path, text: str, reason: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=rf"config\.json cannot be read.*{reason}"):
        load_model(folder)


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"There is no folder .*nowhere"):
        load_model(tmp_path / "nowhere")


def test_weights_that_are_no_numbers_are_refused_by_name(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["head.bias"][1] = torch.nan
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"head\.bias holds numbers that are not finite"):
        load_model(folder)


def test_the_trainer_and_the_checkpoints_raise_one_error(folder: Path) -> None:
    (folder / "config.json").write_text("[]")
    with pytest.raises(CheckpointError, match="not a JSON object"):
        ait_lite.checkpoint.read_config(folder)
