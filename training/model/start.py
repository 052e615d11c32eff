"""Find the weights that training starts from: a checkpoint's, installed ones, the hub's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm

# Registers the ait_* models with timm.
import ait  # noqa: F401
from ait.pretrained.hub import cached_weights
from ait.pretrained.names import did_you_mean
from ait_lite.checkpoint import BEST, CONFIG, bundled_folder, bundled_models, imagenet, resolve
from ait_lite.runtimes import refuse_prepared
from training.errors import CheckpointError, RecipeError
from training.recipe.keys import ModelRecipe
from training.storage.model_folder import missing_files


@dataclass(frozen=True)
class Start:
    """Where weights to start from are.

    Attributes:
        source: What timm creates the model from: ``local-dir:FOLDER``, or the name of a pretrained model.
        name: What messages call it.
        search: How it was found, a line for people; None where the recipe named it.
    """

    source: str
    name: str
    search: str | None = None

    @property
    def folder(self) -> Path | None:
        """The checkpoint's folder; None where timm knows better where the weights are."""
        kind, _, folder = self.source.partition(":")
        return Path(folder) if kind == "local-dir" else None


def find_start(recipe: ModelRecipe) -> Start:
    """Find what ``model.checkpoint`` or ``model.pretrained`` names.

    ``auto`` looks for a checkpoint, then for weights that are installed, then into the hub's cache, and leaves what is
    nowhere to the hub.

    Args:
        recipe: The section `model` of a recipe.

    Raises:
        RecipeError: There are no pretrained weights of that name.
        CheckpointError: The checkpoint is missing or incomplete, or an extra is not installed.
    """
    if recipe.checkpoint is not None:
        folder = checkpoint_folder(recipe.checkpoint, "model.checkpoint")
        return Start(f"local-dir:{folder}", recipe.checkpoint)
    if recipe.pretrained == "auto":
        return _search(recipe.name, recipe.args)
    if bundled := bundled_folder(recipe.name):
        return Start(f"local-dir:{bundled}", recipe.name)
    if not timm.is_model_pretrained(recipe.name):
        hint = "" if timm.is_model(recipe.name) else did_you_mean(recipe.name)
        raise RecipeError(
            f"model.pretrained: timm knows no pretrained weights of {recipe.name!r}{hint}; "
            "choose another model.name, or leave model.pretrained out"
        )
    return Start(recipe.name, recipe.name)


def checkpoint_folder(reference: str, key: str) -> Path:
    """Find the folder of a checkpoint that a recipe names.

    Args:
        reference: A folder such as a run's best, or the name of a bundled model.
        key: The recipe's key, for messages.

    Raises:
        CheckpointError: There is none, or it is incomplete.
    """
    folder = resolve(reference)
    missing = missing_files(folder)
    if not missing:
        return folder
    refuse_prepared(folder)
    if folder.is_dir():
        inside = folder / BEST
        hint = f"; did you mean {inside}?" if (inside / CONFIG).is_file() else ""
        raise CheckpointError(f"{folder} is not a checkpoint: it lacks {' and '.join(missing)}{hint}")
    names = ", ".join(bundled_models())
    raise CheckpointError(f"{key}: {reference} is neither a folder nor a bundled model (there is: {names})")


def _search(name: str, args: dict[str, Any]) -> Start:
    """Look for a model's weights everywhere but on the hub."""
    full, folder, reason = _installed(name)
    if folder is not None:
        return Start(f"local-dir:{folder}", full, f"weights of {full}: installed ({folder})")
    if not timm.is_model_pretrained(name):
        if timm.is_model(name.partition(".")[0]):
            raise CheckpointError(
                f"model.pretrained=auto found no weights of {name}: model.checkpoint names none, {reason}, and timm "
                "knows none; choose another model.name, or set model.pretrained=false for random weights"
            )
        raise RecipeError(f"model {name!r} is not one of timm's{did_you_mean(name)}")
    cached = cached_weights(name, args.get("cache_dir"))
    where = f"in the hub's cache ({cached})" if cached else "not in the hub's cache; asking the hub"
    return Start(name, name, f"weights of {name}: {reason}; {where}")


def _installed(name: str) -> tuple[str, Path | None, str]:
    """Find a bundled model by its full name, or by its architecture: that name, its folder, or why there is none."""
    for full in dict.fromkeys((imagenet.NAME, *bundled_models())):
        if name not in (full, full.partition(".")[0]):
            continue
        try:
            return full, bundled_folder(full), ""
        except CheckpointError as error:  # the extra's, which is not installed or damaged
            return full, None, str(error).rstrip(".")
    return name, None, "not installed"
