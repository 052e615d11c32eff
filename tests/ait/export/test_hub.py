"""A folder for a model hub is loaded by timm, and its card says what the model is."""

import json
from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import ModelCard
from timm.data.model_config import resolve_input_data_config
from typer.testing import CliRunner

from ait.export import (
    ExportError,
    export_hub,
)
from ait_lite.checkpoint import named_labels
from tests.support.models.exported_models import LABELS, make, other_images

run = CliRunner().invoke


@torch.no_grad()
def test_a_hub_folder_is_loaded_by_timm_from_disk_and_as_from_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("average pooling, published memory")
    # A download cache as the hub's client lays it out, in place of the hub.
    repository = tmp_path / "cache" / "models--someone--animals"
    (repository / "refs").mkdir(parents=True)
    revision = "0123456789abcdef0123456789abcdef01234567"
    (repository / "refs" / "main").write_text(revision)
    folder = repository / "snapshots" / revision
    effect = {"accuracy_change": -0.01, "accuracy_interval": 0.004, "loss_change": 0.02, "loss_interval": 0.01}
    metrics = {"validation_accuracy": 0.875, "memory": {"retrieval_off": effect}}
    export_hub(model, folder, license="mit", metrics=metrics)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    images = other_images(model, 3)
    for source in (f"local-dir:{folder}", "hf-hub:someone/animals"):
        loaded = timm.create_model(source, pretrained=True, cache_dir=str(tmp_path / "cache")).eval()
        assert torch.equal(loaded(images), model(images))
        assert list(named_labels(loaded.pretrained_cfg)) == LABELS
        theirs, ours = resolve_input_data_config(loaded), resolve_input_data_config(model)
        assert {**theirs, "mean": None, "std": None} == {**ours, "mean": None, "std": None}
        assert [*theirs["mean"], *theirs["std"]] == pytest.approx([*ours["mean"], *ours["std"]])
    assert json.loads((folder / "config.json").read_text())["metrics"] == metrics
    card = ModelCard.load(folder / "README.md")
    assert card.data.license == "mit"
    assert card.data.to_dict()["library_name"] == "timm"
    assert card.data.pipeline_tag == "image-classification"
    assert "image-classification" in card.data.tags
    assert "ant, bee, cat" in card.text
    assert "| validation_accuracy | 0.8750 |" in card.text
    assert "| nothing is retrieved, and nothing merged | -1.00 ± 0.40 | +0.0200 ± 0.0100 |" in card.text


def test_a_card_without_a_licence_leaves_the_field_out(tmp_path: Path) -> None:
    export_hub(make("convolutional network"), tmp_path / "hub")
    card = ModelCard.load(tmp_path / "hub" / "README.md")
    assert card.data.license is None
    assert "associative-transformer" not in card.data.tags
    assert "import ait" not in card.text


@pytest.mark.parametrize(
    ("mode", "share", "words"),
    [
        ("center", 0.9, "bicubic, centre crop 0.9"),
        ("squash", 1.0, "bicubic, squashed to the input's shape"),
        ("border", 0.9, "bicubic, padded to the input's shape, centre crop 0.9"),
    ],
)
def test_a_card_says_how_images_are_brought_to_size(mode: str, share: float, words: str, tmp_path: Path) -> None:
    model = make("convolutional network")
    model.pretrained_cfg.update(crop_mode=mode, crop_pct=share, interpolation="bicubic")
    export_hub(model, tmp_path / "hub")
    assert f"| resize | {words} |" in ModelCard.load(tmp_path / "hub" / "README.md").text


def test_a_hub_folder_does_not_replace_files(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(ExportError, match="not an empty folder"):
        export_hub(make(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
