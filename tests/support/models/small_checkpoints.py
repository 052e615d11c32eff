"""Checkpoint folders of small untrained models, whose features tell the colours of made images apart."""

from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import save_for_hf

import ait  # noqa: F401  # registers the ait_* models with timm
from tests.support.images.training_images import CLASSES, SIZE


def save_small_checkpoint(folder: Path, seed: int = 0, name: str = "vit_tiny_patch16_224", **more: Any) -> Path:
    """Write the checkpoint of an untrained model of three classes; the seed decides its weights."""
    args: dict[str, Any] = {
        "img_size": SIZE,
        "patch_size": 8,
        "embed_dim": 16,
        "depth": 1,
        "num_heads": 2,
        "global_pool": "avg",
    }
    args |= more
    torch.manual_seed(seed)
    model = timm.create_model(name, num_classes=len(CLASSES), **args)
    with torch.no_grad():
        model.head.weight.normal_(std=0.1)  # it starts at zero, and would answer every image alike
    folder.mkdir(parents=True, exist_ok=True)
    save_for_hf(
        model,
        folder,
        model_config={"label_names": list(CLASSES)},
        model_args=args,
        safe_serialization=True,
        data_config={"input_size": (3, SIZE, SIZE), "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop_pct": 1.0},
    )
    return folder
