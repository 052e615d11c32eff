"""Weights are found where they are, in a fixed order, and what was found is said."""

import io
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from safetensors.torch import save_file
from timm.models import save_for_hf
from torch import nn

from ait_lite.checkpoint import imagenet
from training.errors import CheckpointError, RecipeError
from training.model.learner import create_model
from training.recipe.keys import ModelRecipe
from training.recipe.loading import load_recipe

CLASSES = ("ant", "bee", "cat")
CACHED = "test_vit.r160_in1k"


def found(**keys: Any) -> tuple[nn.Module, str]:
    """The model that ``model.pretrained=auto`` starts from, and what is said."""
    said = io.StringIO()
    recipe = ModelRecipe.model_validate({"pretrained": "auto", **keys})
    return create_model(recipe, CLASSES, Console(file=said, width=200)), said.getvalue()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def test_a_checkpoint_comes_first(tmp_path: Path) -> None:
    torch.manual_seed(5)
    source = timm.create_model("test_vit", num_classes=5)
    save_for_hf(source, str(tmp_path), safe_serialization=True)
    model, said = found(name="test_vit", checkpoint=str(tmp_path))
    assert torch.equal(model.get_parameter("pos_embed"), source.get_parameter("pos_embed"))
    assert f"fine-tuning from {tmp_path}" in said
    with pytest.raises(CheckpointError, match="neither a folder nor a bundled model"):
        found(name="test_vit", checkpoint=str(tmp_path / "nowhere"))


def test_then_what_is_installed_under_any_tag(offline: None) -> None:
    _, said = found(name="ait_tiny_patch4_32")
    assert "weights of ait_tiny_patch4_32.cifar10: installed" in said


def test_then_the_hubs_cache(offline: None, tmp_path: Path) -> None:
    revision = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / f"models--timm--{CACHED}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    torch.manual_seed(5)
    source = timm.create_model(CACHED)
    save_file(source.state_dict(), snapshot / "model.safetensors")
    model, said = found(name="test_vit", args={"cache_dir": str(tmp_path)})
    assert torch.equal(model.get_parameter("pos_embed"), source.get_parameter("pos_embed"))
    assert f"not installed; in the hub's cache ({snapshot / 'model.safetensors'})" in said


def test_what_is_nowhere_is_an_error_with_the_remedies(offline: None, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"hf download timm/test_vit.*, or set model\.pretrained=false") as error:
        found(name="test_vit", args={"cache_dir": str(tmp_path)})
    assert "\n" not in str(error.value)
    with pytest.raises(CheckpointError, match=r"timm knows none; .*model\.pretrained=false"):
        found(name="ait_base_patch16_224")
    with pytest.raises(RecipeError, match=r"not one of timm's \(did you mean 'resnet"):
        found(name="resnet81")


def test_an_extra_that_is_not_installed_is_named(
    offline: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imagenet, "imagenet_folder", lambda: None)
    monkeypatch.setattr(imagenet, "imagenet_weights", lambda: None)
    said = io.StringIO()
    recipe = ModelRecipe(name=imagenet.NAME, pretrained="auto", args={"cache_dir": str(tmp_path)})
    with pytest.raises(CheckpointError, match="out of reach"):
        create_model(recipe, CLASSES, Console(file=said, width=400))
    assert f"{imagenet.REMEDY}; not in the hub's cache; asking the hub" in said.getvalue()
    assert said.getvalue().count("\n") == 1


def test_bundled_recipes_take_a_checkpoint_instead() -> None:
    for name in ("quick", "folder"):
        recipe = load_recipe(name, ["data.root=x", "model=test_vit", "model.checkpoint=runs/mine/best"])
        assert (recipe.model.pretrained, recipe.model.checkpoint) == ("auto", "runs/mine/best")


def test_other_values_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"model\.pretrained: .*'auto'.*got 'yes'"):
        load_recipe("quick", ["data.root=x", "model.pretrained='yes'"])
