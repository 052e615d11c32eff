"""Fine-tuning: everything of the start is loaded but a head that does not fit; what does not fit at all is refused."""

import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from rich.console import Console
from timm.models import save_for_hf
from torch import nn

from ait.pretrained import load_model
from ait_lite.checkpoint import bundled_models, named_labels
from training.errors import CheckpointError, RecipeError
from training.model.learner import create_model
from training.recipe.keys import ModelRecipe, Recipe
from training.recipe.loading import parse_recipe
from training.run.trainer import train

BIRDS = ("crow", "duck", "gull", "kite", "wren")
ANIMALS = ("ant", "bee", "cat")
SIZES: dict[str, dict[str, Any]] = {
    "ait_tiny_patch4_32": {"img_size": 16, "embed_dim": 32, "depth": 2, "num_heads": 2},
    "ait_tiny_patch16_224": {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2},
    "vit_tiny_patch16_224": {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 2, "num_heads": 2},
}
BUNDLED = "ait_tiny_patch4_32.cifar10"


def save_birds(name: str, folder: Path, **changes: Any) -> nn.Module:
    """A model of five birds, saved as a checkpoint."""
    torch.manual_seed(5)
    model = timm.create_model(name, num_classes=len(BIRDS), **SIZES.get(name, {}), **changes)
    config = {"label_names": list(BIRDS)}
    save_for_hf(model, str(folder), model_config=config, safe_serialization=True)
    return model.eval()


def start(name: str, folder: Path | str, classes: Sequence[str], **args: Any) -> tuple[nn.Module, str]:
    """The model that a run would start from, and what it said."""
    said = io.StringIO()
    recipe = ModelRecipe(name=name, args=args, checkpoint=str(folder))
    return create_model(recipe, classes, Console(file=said, width=200)).eval(), said.getvalue()


def assert_same_body(loaded: nn.Module, source: nn.Module, but: tuple[str, ...] = ()) -> None:
    """Every weight and buffer but those whose names start with `but` is the source's."""
    theirs = source.state_dict()
    for key, value in loaded.state_dict().items():
        if not key.startswith(("head.", "fc.", *but)):
            torch.testing.assert_close(value, theirs[key], rtol=0, atol=0, msg=key)


@pytest.mark.parametrize("name", list(SIZES))
@pytest.mark.parametrize("size", [16, 24])
def test_another_class_count_gets_a_new_head_on_the_loaded_body(name: str, size: int, tmp_path: Path) -> None:
    source = save_birds(name, tmp_path)
    loaded, said = start(name, tmp_path, ANIMALS, img_size=size)
    assert_same_body(loaded, source, but=("pos_embed",) if size != 16 else ())
    assert loaded(torch.zeros(2, 3, size, size)).shape == (2, 3)
    assert "new head (5 classes there, 3 here)" in said
    assert named_labels(loaded.pretrained_cfg) == ()
    if size != 16:
        embedding = loaded.get_parameter("pos_embed")
        assert embedding.shape[1] - source.get_parameter("pos_embed").shape[1] == 36 - 16
        # Resampled, so the mean position stays what it was; drawn anew, it would not.
        torch.testing.assert_close(
            embedding[:, -36:].mean(1), source.get_parameter("pos_embed")[:, -16:].mean(1), atol=2e-3, rtol=0
        )


def test_a_convolutional_network_keeps_its_body(tmp_path: Path) -> None:
    source = save_birds("test_resnet", tmp_path)
    loaded, _ = start("test_resnet", tmp_path, ANIMALS)
    assert_same_body(loaded, source)
    assert loaded(torch.zeros(1, 3, 96, 96)).shape == (1, 3)


def test_the_same_classes_keep_the_head(tmp_path: Path) -> None:
    source = save_birds("ait_tiny_patch4_32", tmp_path, global_pool="flat")
    loaded, said = start("ait_tiny_patch4_32", tmp_path, BIRDS)
    images = torch.randn(3, 3, 16, 16)
    assert torch.equal(loaded(images), source(images))
    assert "head kept" in said
    larger, said = start("ait_tiny_patch4_32", tmp_path, BIRDS, img_size=32)
    assert larger(torch.zeros(1, 3, 32, 32)).shape == (1, 5)
    assert "head resampled" in said


def test_an_associative_head_starts_anew_on_the_body_of_a_linear_one(tmp_path: Path) -> None:
    source = save_birds("ait_tiny_patch4_32", tmp_path, global_pool="flat")
    loaded, said = start("ait_tiny_patch4_32", tmp_path, BIRDS, global_pool="avg", head="associative")
    assert "head of another kind, so new" in said
    assert_same_body(loaded, source)


def test_other_classes_of_the_same_count_get_a_new_head(tmp_path: Path) -> None:
    source = save_birds("ait_tiny_patch4_32", tmp_path)
    loaded, said = start("ait_tiny_patch4_32", tmp_path, BIRDS[::-1])
    assert_same_body(loaded, source)
    assert not torch.equal(loaded.get_parameter("head.weight"), source.get_parameter("head.weight"))
    assert "new head" in said


def test_the_bundled_model_is_a_start_by_its_name_and_as_timms_pretrained() -> None:
    source = load_model(BUNDLED)
    by_name, _ = start("ait_tiny_patch4_32", BUNDLED, ANIMALS)
    recipe = ModelRecipe(name="ait_tiny_patch4_32", pretrained=True)
    for model in (by_name, create_model(recipe, ANIMALS, Console(quiet=True))):
        assert_same_body(model, source)
        assert model.get_parameter("head.weight").shape == (3 * 4, 192)  # four priors a class


def test_a_fine_tuned_run_learns_and_its_best_model_names_the_new_classes(
    make_recipe: Callable[..., Recipe], tmp_path: Path, quiet: Console
) -> None:
    save_birds("ait_tiny_patch4_32", tmp_path / "birds")
    model = {"name": "ait_tiny_patch4_32", "checkpoint": str(tmp_path / "birds"), "args": {"img_size": 24}}
    recipe = make_recipe(
        model=model, optimizer={"name": "adamw", "lr": 3e-3}, augment={"crop_padding": 0}, ema_decay=None, epochs=4
    )
    result = train(recipe, console=quiet)
    assert result.history[-1]["train_loss"] < 0.8 * result.history[0]["train_loss"]
    best = timm.create_model(f"local-dir:{result.checkpoint}", pretrained=True).eval()
    assert named_labels(best.pretrained_cfg) == ANIMALS
    assert best(torch.zeros(1, 3, 24, 24)).shape == (1, 3)


def test_what_cannot_be_a_start_is_refused_with_a_remedy(tmp_path: Path) -> None:
    name = "ait_tiny_patch4_32"
    save_birds(name, tmp_path / "run" / "best")
    for reference, message in (
        (tmp_path / "nowhere", BUNDLED),
        (tmp_path / "run", "did you mean .*best"),
        (tmp_path, "lacks config.json and model.safetensors"),
    ):
        with pytest.raises(CheckpointError, match=message):
            start(name, reference, ANIMALS)
    with pytest.raises(RecipeError, match=r"set model\.name=ait_tiny_patch4_32"):
        start("vit_tiny_patch16_224", tmp_path / "run" / "best", ANIMALS)
    with pytest.raises(RecipeError, match=r"do not fit.*embed_dim"):
        start(name, tmp_path / "run" / "best", ANIMALS, embed_dim=64)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_torn_checkpoint_is_refused(file: str, tmp_path: Path) -> None:
    folder = tmp_path / "torn"
    shutil.copytree(bundled_models()[BUNDLED], folder)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="torn"):
        start("ait_tiny_patch4_32", folder, ANIMALS)


def test_weights_that_lack_a_part_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    save_birds("ait_tiny_patch4_32", tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["blocks.0.workspace.memory.priors"]
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="priors"):
        start("ait_tiny_patch4_32", tmp_path, ANIMALS)


def test_pretrained_weights_that_do_not_exist_or_cannot_be_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="no pretrained weights of 'ait_base_patch16_224'"):
        create_model(ModelRecipe(name="ait_base_patch16_224", pretrained=True), ANIMALS)
    with pytest.raises(RecipeError, match=r"no pretrained weights of 'resnet81' \(did you mean 'resnet"):
        create_model(ModelRecipe(name="resnet81", pretrained=True), ANIMALS)
    with pytest.raises(RecipeError, match=r"'vit_tiny_patch16_242' is not one of timm's \(did you mean 'vit_tiny"):
        create_model(ModelRecipe(name="vit_tiny_patch16_242"), ANIMALS)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match=r"test_vit: its pretrained weights are not on this machine"):
        create_model(ModelRecipe(name="test_vit", pretrained=True, args={"cache_dir": str(tmp_path)}), ANIMALS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"name": "x", "checkpoint": "y", "pretrained": True}}, "model: checkpoint and pretrained"),
        ({"model": {"name": "x", "pretrained": True}, "patch_whitening": True}, "set patch_whitening=false"),
        ({"model": {"name": "x", "checkpoint": "y"}, "mimetic_attention": True}, "set mimetic_attention=false"),
    ],
)
def test_starts_that_contradict_each_other(
    changes: dict[str, Any], message: str, recipe_values: dict[str, Any]
) -> None:
    with pytest.raises(RecipeError, match=message) as refusal:
        parse_recipe({**recipe_values, **changes})
    assert "got" not in str(refusal.value)


def test_an_ait_model_starts_from_a_vit_of_its_shape(tmp_path: Path) -> None:
    source = save_birds("vit_tiny_patch16_224", tmp_path)
    loaded, said = start("ait_vit_tiny_patch16_224", tmp_path, BIRDS, memory_blocks=1)
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(loaded(images), source(images), rtol=0, atol=1e-5)
    assert "a memory is added" in said
    assert "head kept" in said
    assert start("ait_vit_tiny_patch16_224", tmp_path, ANIMALS)[0](images).shape == (2, 3)
    with pytest.raises(RecipeError, match=r"model\.name=vit_tiny"):
        start("ait_vit_small_patch16_224", tmp_path, BIRDS)
