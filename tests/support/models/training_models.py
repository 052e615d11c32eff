"""Small models to train."""

from typing import Any

import timm
import torch

from training.model.learner import create_model
from training.recipe.keys import ModelRecipe

SMALL_MODELS: dict[str, dict[str, Any]] = {
    "ait_tiny_patch4_32": {"img_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2},
    "vit_tiny_patch16_224": {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 3, "num_heads": 2},
    "ait_vit_tiny_patch16_224": {
        "img_size": 16,
        "patch_size": 4,
        "embed_dim": 32,
        "depth": 3,
        "num_heads": 2,
        "memory_blocks": 2,
    },
}


def small_vit() -> Any:
    """Create a vision transformer of one block for images of 16 pixels."""
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=128, depth=1, num_heads=2, num_classes=3
    )


def small_model(name: str, **args: Any) -> Any:
    """Create one of the small models for three classes, with the same weights every time."""
    torch.manual_seed(0)
    return create_model(ModelRecipe(name=name, args=SMALL_MODELS[name] | args), classes=("ant", "bee", "cat"))
