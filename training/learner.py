"""The model as the training loop sees it."""

from typing import Any

import timm
import torch
from torch import Tensor, nn

# Registers the ait_* models with timm.
import ait  # noqa: F401
from training.config import ModelRecipe
from training.errors import RecipeError


def create_model(recipe: ModelRecipe, num_classes: int) -> nn.Module:
    """A timm model for a number of classes.

    Raises:
        RecipeError: timm does not know the model, or it refuses its arguments.
    """
    if "num_classes" in recipe.args:
        raise RecipeError("model.args.num_classes: the number of classes comes from the data folder")
    try:
        return timm.create_model(recipe.name, num_classes=num_classes, **recipe.args)
    except (AssertionError, RuntimeError, TypeError, ValueError) as error:
        raise RecipeError(f"model {recipe.name!r}: {error}") from error


def enable_grad_checkpointing(model: nn.Module) -> None:
    """Have a timm model recompute its blocks in the backward pass, to save memory.

    Raises:
        RecipeError: The model cannot.
    """
    try:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AssertionError, AttributeError) as error:
        raise RecipeError(f"grad_checkpointing: {type(model).__name__} does not support it") from error


class Learner(nn.Module):
    """Calls a model the way training needs it, through `forward`, so that wrappers around it still apply.

    Data-parallel and mixed-precision wrappers act on ``forward``; a model's explicit ``forward_training``
    would pass them by.

    Args:
        model: Any classifier. One with ``forward_training`` also gives a balance loss.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) images to (B, classes) logits and the scalar balance loss (0 if there is none)."""
        if hasattr(self.model, "forward_training"):
            output = self.model.forward_training(images)
            return output.logits, output.balance_loss
        logits = self.model(images)
        return logits, torch.zeros((), device=logits.device)
