"""The size at which a model sees images is the recipe's, or the smallest at which a head in closed form errs least."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from PIL import Image
from rich.console import Console
from timm.models import save_for_hf
from torch import nn

from ait_lite.checkpoint import read_config
from tests.support.images.training_images import CLASSES, write_images
from training.data import LabelledImages, Preprocessing, decode, open_splits
from training.errors import RecipeError
from training.model.ridge_head import head_inputs, solve_head
from training.recipe.keys import Recipe
from training.recipe.loading import parse_recipe
from training.run import input_size
from training.run.input_size import choose_preprocessing, smallest_as_good
from training.run.output.folder import RunFolder
from training.run.output.state import read_choices
from training.run.trainer import train

CPU = torch.device("cpu")
VIT: dict[str, Any] = {"img_size": 16, "patch_size": 4, "embed_dim": 24, "depth": 1, "num_heads": 2}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and a convolutional model of 160 pixels and other classes."""
    folder = tmp_path_factory.mktemp("sizes")
    write_images(folder / "images", 6, seed=1)
    torch.manual_seed(0)
    model = timm.create_model("test_resnet", num_classes=5)
    save_for_hf(model, str(folder / "model"), safe_serialization=True)
    return folder


def recipe(place: Path, img_size: int | str | None, data: dict[str, Any] | None = None, **settings: Any) -> Recipe:
    return parse_recipe(
        {
            "data": {
                "root": str(place / "images"),
                "cache": str(place / "cache"),
                "workers": 0,
                "img_size": img_size,
                **(data or {}),
            },
            "model": {"name": "test_resnet", "checkpoint": str(place / "model")},
            "output": str(place / "run"),
            "head_first": True,
            "exemplars": 0,
            "figures": False,
            **settings,
        }
    )


def choose(recipe: Recipe, model: nn.Module, console: Console, taken: int = 0) -> int:
    training, _ = open_splits(recipe.data, recipe.seed)
    return choose_preprocessing(recipe, model, training, CPU, console, taken).input_size[-1]


@torch.inference_mode()
def error(model: nn.Module, training: LabelledImages, size: int) -> float:
    """The mean squared error of images that are left out, one by one."""
    preprocessing = Preprocessing.of_model(model, input_size=(3, size, size))
    _, images = decode(training, preprocessing, cache=None)
    head = solve_head(head_inputs(model.eval(), preprocessing.normalise(images)), training.labels, len(CLASSES))
    return float((head.left_out - torch.eye(len(CLASSES))[training.labels]).square().mean())


def test_the_smallest_size_with_the_least_error_is_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = timm.create_model("test_resnet", pretrained=False, num_classes=3).eval()
    asked = recipe(place, "auto")
    training, _ = open_splits(asked.data, asked.seed)
    said = Console(record=True, width=200, quiet=False, file=(tmp_path / "said").open("w"))
    errors = {size: error(model, training, size) for size in (160, 128, 96)}
    assert choose(asked, model, said) == smallest_as_good(errors)
    text = said.export_text()
    assert "at 160" in text
    assert "at 128" in text
    assert "at 96" in text
    assert choose(asked, model, said, taken=128) == 128


def test_a_smaller_size_is_taken_where_it_is_as_good() -> None:
    assert smallest_as_good({224: 0.1000, 160: 0.1015, 128: 0.1100}) == 160
    assert smallest_as_good({224: 0.1000, 160: 0.1100, 128: 0.1200}) == 224
    assert smallest_as_good({224: 0.1100, 160: 0.1000, 128: 0.0900}) == 128


def test_a_size_that_is_asked_for_is_taken(place: Path, quiet: Console) -> None:
    model = timm.create_model("test_resnet")
    assert choose(recipe(place, 64), model, quiet) == 64
    assert choose(recipe(place, None), model, quiet) == 160
    assert choose(recipe(place, "auto", head_first=False), model, quiet) == 160  # nothing tells which is better


def test_a_model_of_one_size_keeps_it(place: Path, quiet: Console) -> None:
    model = timm.create_model("vit_tiny_patch16_224", **VIT)
    model.pretrained_cfg["input_size"] = (3, 16, 16)
    assert choose(recipe(place, "auto"), model, quiet) == 16
    assert choose(recipe(place, 16), model, quiet) == 16
    with pytest.raises(RecipeError, match=r"16 x 16 pixels alone; .*model.args=\{img_size: 32\}"):
        choose(recipe(place, 32), model, quiet)


def test_a_run_trains_and_writes_its_size(place: Path, quiet: Console) -> None:
    asked = recipe(place, 64, epochs=1, batch_size=8, schedule={"warmup_epochs": 0})
    result = train(asked, console=quiet)
    assert read_config(result.checkpoint)["pretrained_cfg"]["input_size"] == [3, 64, 64]
    assert read_choices(RunFolder(asked.output).state).img_size == 64


@pytest.mark.parametrize(("mode", "seen"), [("squash", True), ("border", True), ("center", False)])
def test_what_lies_at_the_sides_of_a_wide_image_is_seen_as_the_recipe_says(
    mode: str, seen: bool, place: Path, quiet: Console
) -> None:
    asked = recipe(place, 32, {"crop_mode": mode, "crop_pct": 1.0})
    training, _ = open_splits(asked.data, asked.seed)
    preprocessing = choose_preprocessing(asked, timm.create_model("test_resnet"), training, CPU, quiet)
    wide = Image.new("RGB", (90, 30))
    wide.paste("red", (0, 0, 15, 30))
    wide.paste("blue", (75, 0, 90, 30))
    pixels = preprocessing.decode(wide).float().mean(1)  # (C, W)
    # A frame has the colour of the mean, which is none of both.
    assert bool((pixels[0] - pixels[2]).max() > 40) is seen
    assert bool((pixels[2] - pixels[0]).max() > 40) is seen


def test_a_checkpoint_says_how_it_sees_images(place: Path, tmp_path: Path, quiet: Console) -> None:
    data = {"crop_mode": "squash", "crop_pct": 1.0}
    asked = recipe(place, 64, data, method="closed_form", output=str(tmp_path / "run"))
    found = read_config(train(asked, console=quiet).checkpoint)["pretrained_cfg"]
    assert (found["crop_mode"], found["crop_pct"]) == ("squash", 1.0)


def test_a_run_goes_on_at_the_size_that_it_chose(
    place: Path, tmp_path: Path, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = {"batch_size": 8, "schedule": {"warmup_epochs": 0}, "output": str(tmp_path / "run")}
    for epochs, preferred in ((1, 96), (2, 160)):  # a later measurement would find another size
        monkeypatch.setattr(input_size, "_best", lambda *_, size=preferred: size)
        result = train(recipe(place, "auto", epochs=epochs, **short), resume=True, console=quiet)
    assert [row["epoch"] for row in result.history] == [1, 2]
    assert read_config(result.checkpoint)["pretrained_cfg"]["input_size"] == [3, 96, 96]
    assert read_choices(RunFolder(result.output).state).img_size == 96
