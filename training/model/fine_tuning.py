"""The weights that fine-tuning starts from: a checkpoint's, or timm's pretrained ones."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import timm
from rich.console import Console
from safetensors import SafetensorError, safe_open
from torch import nn

# Registers the ait_* models with timm.
import ait  # noqa: F401
from ait.pretrained.hub import create_pretrained
from ait.vit.convert import from_vit
from ait.vit.variants import PREFIX, vit_names
from ait_lite.checkpoint import CONFIG, WEIGHTS, named_labels, read_config
from training.errors import CheckpointError, RecipeError
from training.model.start import find_start
from training.recipe.keys import ModelRecipe


def load_start(recipe: ModelRecipe, classes: Sequence[str], console: Console) -> nn.Module:
    """Load the model of ``recipe.checkpoint`` or of ``recipe.pretrained``, with a head for some classes.

    Everything is loaded, an AiT model's priors too; position embeddings are resampled where ``recipe.args`` ask
    for another input size. The head is kept if the classes have the same names in the same order (resampled, where
    its width depends on the input size), else it is new.

    Args:
        recipe: The section `model` of a recipe: the start, and arguments that replace the checkpoint's.
        classes: Names by label.
        console: Where it is said what became of the head.

    Raises:
        RecipeError: The recipe's name contradicts the checkpoint, or its arguments do not fit the weights.
        CheckpointError: The checkpoint is missing, torn or incomplete, or cannot be downloaded.
    """
    start = find_start(recipe)
    if start.search is not None:
        console.print(start.search, soft_wrap=True, markup=False, highlight=False)
    if recipe.checkpoint is not None and start.folder is not None:
        _check_architecture(recipe, start.folder)
        _check_weights(start.folder)
    try:
        # With its own classes, so that timm loads strictly: weights that are lacking are an error.
        if start.folder is None:
            model: nn.Module = create_pretrained(start.source, **recipe.args)
        elif _memory_is_new(recipe, start.folder):
            model = from_vit(start.folder, **recipe.args)
            console.print("a memory is added, which changes nothing until it is trained", soft_wrap=True)
        else:
            model = timm.create_model(start.source, pretrained=True, **recipe.args)
    except FileNotFoundError as error:
        unasked = ", or set model.pretrained=false for random weights" if recipe.pretrained == "auto" else ""
        raise CheckpointError(f"{error}{unasked}") from error
    except OSError as error:
        raise CheckpointError(f"the weights of {start.name} cannot be read or downloaded: {error}") from error
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if recipe.args:
            raise RecipeError(f"the weights of {start.name} do not fit model.args={recipe.args}: {error}") from error
        raise CheckpointError(f"the weights of {start.name} do not fit the model they name: {error}") from error
    another = recipe.checkpoint is not None and start.folder is not None and _another_head(recipe, start.folder)
    _fit_head(model, classes, start.name, console, another)
    return model


def _check_architecture(recipe: ModelRecipe, folder: Path) -> None:
    architecture = read_config(folder).get("architecture")
    if not isinstance(architecture, str):
        raise CheckpointError(f"checkpoint {folder}: {CONFIG} names no architecture")
    if recipe.name.partition(".")[0] != architecture and not _memory_is_new(recipe, folder):
        raise RecipeError(
            f"model.name is {recipe.name!r}, the checkpoint {folder} is of {architecture!r}; "
            f"set model.name={architecture}"
        )


def _memory_is_new(recipe: ModelRecipe, folder: Path) -> bool:
    """Return True if the recipe asks for an AiT model of the shape of the ViT in a folder."""
    architecture = read_config(folder).get("architecture")
    return architecture in vit_names() and recipe.name.partition(".")[0] == PREFIX + architecture


def _check_weights(folder: Path) -> None:
    try:
        with safe_open(folder / WEIGHTS, framework="pt"):
            pass
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"checkpoint {folder} is torn: {error}") from error


def _another_head(recipe: ModelRecipe, folder: Path) -> bool:
    """Return True if the recipe asks for another kind of head than the checkpoint has."""
    theirs = (read_config(folder).get("model_args") or {}).get("head", "linear")
    return "head" in recipe.args and recipe.args["head"] != theirs


def _fit_head(model: Any, classes: Sequence[str], start: str, console: Console, another: bool) -> None:
    known = named_labels(getattr(model, "pretrained_cfg", None) or {})
    if known == tuple(classes) and model.num_classes == len(classes):
        resampled = getattr(model, "global_pool", None) == "flat" and _resized(model)
        how = "of another kind, so new" if another else "resampled to the new input size" if resampled else "kept"
        console.print(f"fine-tuning from {start}: same {len(known)} classes, head {how}", soft_wrap=True)
        return
    before = model.num_classes
    num_classes = len(classes)
    try:
        model.reset_classifier(num_classes)
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(f"the head of {start} cannot be replaced for {num_classes} classes: {error}") from error
    # Names of other classes must not travel with the new head.
    for key in ("label_names", "label_descriptions"):
        model.pretrained_cfg.pop(key, None)
    change = f"{before} classes there, {num_classes} here" if before != num_classes else f"{before} other classes"
    console.print(f"fine-tuning from {start}: new head ({change}), all other weights loaded", soft_wrap=True)


def _resized(model: Any) -> bool:
    """Return True if the model's input size is not the one its weights were made for."""
    return tuple(model.pretrained_cfg["input_size"][1:]) != tuple(model.patch_embed.img_size)
