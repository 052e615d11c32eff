"""A run in closed form leaves what a run by gradients leaves, and its model is as good as its features."""

import csv
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from rich.console import Console
from timm.models import save_for_hf

import ait
from ait_lite.checkpoint import EXEMPLARS, read_config, read_temperature
from tests.support.images.training_images import CLASSES, write_images
from training.errors import RecipeError
from training.recipe.keys import Recipe
from training.recipe.loading import parse_recipe
from training.run.output.folder import RunFolder
from training.run.trainer import train

ARGS: dict[str, Any] = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of five other classes."""
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("backbone") / "model"
    save_for_hf(timm.create_model("vit_tiny_patch16_224", num_classes=5, **ARGS), str(folder), safe_serialization=True)
    return folder


def recipe(folder: Path, backbone: Path, **settings: Any) -> Recipe:
    """A recipe in closed form for the images in a folder."""
    return parse_recipe(
        {
            "data": {"root": str(folder / "images"), "cache": str(folder / "cache"), "workers": 0},
            "model": {"name": "vit_tiny_patch16_224", "checkpoint": str(backbone)},
            "method": "closed_form",
            "output": str(folder / "run"),
            "exemplars": 2,
            **settings,
        }
    )


def test_a_whole_run(tmp_path: Path, backbone: Path) -> None:
    write_images(tmp_path / "images", 20, seed=1)
    result = train(recipe(tmp_path, backbone))
    assert result.best_accuracy > 0.8  # colours: even random layers tell them apart
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert {"best", "report.md", "metrics.csv", "recipe.yaml", "validation.txt", "environment.json"} <= names
    config = read_config(result.checkpoint)
    assert config["label_names"] == list(CLASSES)
    assert read_temperature(config) is not None
    assert config["calibration"]["images"] == 54  # the training images, each left out in turn
    assert (result.checkpoint / EXEMPLARS).is_file()
    model = ait.load(result.checkpoint)
    right = [
        model.predict(Image.open(path), top_k=1)[0][0] == path.parent.name
        for path in sorted((tmp_path / "images").rglob("*.png"))
    ]
    assert sum(right) / len(right) > 0.9

    # More images later: the run is done anew, with the features that there are.
    write_images(tmp_path / "images2", 3, seed=2)
    for path in sorted((tmp_path / "images2").rglob("*.png")):
        path.rename(tmp_path / "images" / path.parent.name / f"more-{path.name}")
    said = Console(record=True, width=200, quiet=False, file=(tmp_path / "said").open("w"))
    again = train(recipe(tmp_path, backbone), resume=True, console=said)
    assert read_config(again.checkpoint)["calibration"]["images"] > 54
    assert "other settings" not in said.export_text()

    # And fine-tuning goes on from it.
    tuned = recipe(
        tmp_path,
        again.checkpoint,
        method="gradient",
        output=str(tmp_path / "tuned"),
        epochs=1,
        batch_size=16,
        schedule={"warmup_epochs": 0},
        optimizer={"lr": 1e-5},
    )
    assert train(tuned).best_accuracy > 0.8
    (row,) = csv.DictReader((tmp_path / "tuned" / "metrics.csv").open())
    assert float(row["train_acc"]) > 0.6  # the head was kept


def test_random_weights_are_refused(tmp_path: Path, backbone: Path) -> None:
    write_images(tmp_path / "images", 4, seed=1)
    with pytest.raises(RecipeError, match=r"model\.pretrained=auto"):
        train(recipe(tmp_path, backbone, model={"name": "vit_tiny_patch16_224", "args": ARGS}))


def test_classes_that_are_to_be_balanced_are_refused(tmp_path: Path, backbone: Path) -> None:
    data = {"root": str(tmp_path / "images"), "balance": "loss"}
    with pytest.raises(RecipeError, match=r"data\.balance=loss needs method=gradient"):
        recipe(tmp_path, backbone, data=data)


def test_a_run_that_is_made_anew_with_other_settings_says_so(tmp_path: Path, backbone: Path) -> None:
    write_images(tmp_path / "images", 4, seed=1)
    data = {"root": str(tmp_path / "images"), "cache": str(tmp_path / "cache"), "workers": 0}
    for crop_mode in (None, "squash"):
        said = Console(record=True, width=200, quiet=False, file=(tmp_path / "said").open("w"))
        asked = recipe(tmp_path, backbone, data={**data, "crop_mode": crop_mode}, figures=False, exemplars=0)
        result = train(asked, resume=True, console=said)
    assert "was made with other settings (data.crop_mode): its model is replaced" in said.export_text()
    assert read_config(result.checkpoint)["pretrained_cfg"]["crop_mode"] == "squash"


@pytest.mark.parametrize("content", ["", "data", "data: [", "model: {}", "\udcff"])
def test_a_recipe_that_is_none_is_not_compared(content: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(content.encode(errors="surrogateescape"))
    assert RunFolder(tmp_path).settings() is None
    assert RunFolder(tmp_path / "nowhere").settings() is None
