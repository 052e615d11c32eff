"""The model as the training loop sees it."""

from collections.abc import Sequence
from typing import Any

import timm
import torch
from rich.console import Console
from torch import Tensor, nn

# Registers the ait_* models with timm.
import ait  # noqa: F401
from ait.pretrained.names import did_you_mean
from training.errors import RecipeError
from training.model.fine_tuning import load_start
from training.recipe.keys import ModelRecipe


def create_model(recipe: ModelRecipe, classes: Sequence[str], console: Console | None = None) -> nn.Module:
    """Create a timm model for some classes, with random weights or those that fine-tuning starts from.

    Args:
        recipe: The section `model` of a recipe.
        classes: Names by label.
        console: Where it is said what was loaded; None is the standard error stream.

    Raises:
        RecipeError: timm does not know the model, it refuses its arguments, or it contradicts the checkpoint.
        CheckpointError: The checkpoint to start from is missing or torn.
    """
    if "num_classes" in recipe.args:
        raise RecipeError("model.args.num_classes: the number of classes comes from the data folder")
    if recipe.checkpoint is not None or recipe.pretrained:
        return load_start(recipe, classes, console or Console(stderr=True))
    name = recipe.name.partition(".")[0]
    if ":" not in name and not timm.is_model(name):  # with one, it names a place: hf-hub:OWNER/NAME
        raise RecipeError(f"model {recipe.name!r} is not one of timm's{did_you_mean(recipe.name)}")
    num_classes = len(classes)
    try:
        model: nn.Module = timm.create_model(recipe.name, num_classes=num_classes, **recipe.args)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(f"model {recipe.name!r}: {error}") from error
    return model


def enable_grad_checkpointing(model: Any) -> None:
    """Have a timm model recompute its blocks in the backward pass, to save memory.

    Args:
        model: Changed in place.

    Raises:
        RecipeError: The model cannot.
    """
    try:
        model.set_grad_checkpointing(True)
    except (AssertionError, AttributeError) as error:
        raise RecipeError(f"grad_checkpointing: {type(model).__name__} does not support it") from error


class Learner(nn.Module):
    """Call a model the way training needs it, through `forward`, so that wrappers around it still apply.

    Data-parallel and mixed-precision wrappers act on ``forward``; a model's explicit ``forward_training``
    would pass them by.

    Args:
        model: Any classifier. One with ``forward_training`` also gives a balance loss.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Compute logits and balance loss.

        Args:
            images: (B, C, H, W) float.

        Returns:
            (B, classes) logits, and the scalar balance loss (0 if the model has none).
        """
        if hasattr(self.model, "forward_training"):
            output = self.model.forward_training(images)
            return output.logits, output.balance_loss
        logits = self.model(images)
        return logits, torch.zeros((), device=logits.device)
