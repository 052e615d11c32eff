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
from ait.pretrained.names import did_you_mean
from ait_lite.checkpoint import CONFIG, WEIGHTS, bundled_folder, bundled_models, named_labels, read_config, resolve
from training.errors import CheckpointError, RecipeError
from training.recipe.keys import ModelRecipe
from training.storage.model_folder import missing_files


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
    if recipe.checkpoint is not None:
        folder = _checkpoint_folder(recipe.checkpoint)
        _check_architecture(recipe, folder)
        _check_weights(folder)
        source, start = f"local-dir:{folder}", str(recipe.checkpoint)
    elif bundled := bundled_folder(recipe.name):
        source, start = f"local-dir:{bundled}", recipe.name
    else:
        if not timm.is_model_pretrained(recipe.name):
            hint = "" if timm.is_model(recipe.name) else did_you_mean(recipe.name)
            raise RecipeError(
                f"model.pretrained: timm knows no pretrained weights of {recipe.name!r}{hint}; "
                "choose another model.name, or leave model.pretrained out"
            )
        source = start = recipe.name
    try:
        # With its own classes, so that timm loads strictly: weights that are lacking are an error.
        if not source.startswith("local-dir:"):
            model = create_pretrained(source, **recipe.args)
        else:
            model = timm.create_model(source, pretrained=True, **recipe.args)
    except FileNotFoundError as error:
        raise CheckpointError(str(error)) from error
    except OSError as error:
        raise CheckpointError(f"the weights of {start} cannot be read or downloaded: {error}") from error
    except (AssertionError, KeyError, RuntimeError, TypeError, ValueError) as error:
        if recipe.args:
            raise RecipeError(f"the weights of {start} do not fit model.args={recipe.args}: {error}") from error
        raise CheckpointError(f"the weights of {start} do not fit the model they name: {error}") from error
    another = recipe.checkpoint is not None and _another_head(recipe, folder)
    _fit_head(model, classes, start, console, another)
    return model


def _checkpoint_folder(reference: str) -> Path:
    folder = resolve(reference)
    missing = missing_files(folder)
    if not missing:
        return folder
    if folder.is_dir():
        inside = folder / "best"
        hint = f"; did you mean {inside}?" if (inside / CONFIG).is_file() else ""
        raise CheckpointError(f"{folder} is not a checkpoint: it lacks {' and '.join(missing)}{hint}")
    names = ", ".join(bundled_models())
    raise CheckpointError(f"model.checkpoint: {reference} is neither a folder nor a bundled model (there is: {names})")


def _check_architecture(recipe: ModelRecipe, folder: Path) -> None:
    architecture = read_config(folder).get("architecture")
    if not isinstance(architecture, str):
        raise CheckpointError(f"checkpoint {folder}: {CONFIG} names no architecture")
    if recipe.name.partition(".")[0] != architecture:
        raise RecipeError(
            f"model.name is {recipe.name!r}, the checkpoint {folder} is of {architecture!r}; "
            f"set model.name={architecture}"
        )


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
