"""Untrained models of each kind that can be exported."""

from typing import Any

import timm
import torch
from timm.data.model_config import resolve_input_data_config
from torch import Tensor, nn

LABELS = ["ant", "bee", "cat"]
SMALL = {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 1, "num_heads": 2}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "flat head": ("ait_tiny_patch4_32", SMALL),
    "average pooling, published memory": ("ait_small_patch16_224", {**SMALL, "memory": "published"}),
    "distance kernel, two steps": ("ait_tiny_patch4_32", {**SMALL, "memory_args": {"retrieval": "d1", "steps": 2}}),
    "squared distance kernel": ("ait_tiny_patch4_32", {**SMALL, "memory_args": {"retrieval": "d2"}}),
    "attention pooling, any size": ("ait_base_patch4_32", {**SMALL, "global_pool": "map", "dynamic_img_size": True}),
    "timm ViT": ("vit_tiny_patch16_224", SMALL),
    "convolutional network": (
        "test_resnet",
        {"pretrained_cfg_overlay": {"input_size": (3, 32, 32), "test_input_size": None}},
    ),
}


def make(case: str = "flat head") -> nn.Module:
    """An untrained model of three classes; statistics of batch normalisation are drawn, so that they matter."""
    name, args = MODELS[case]
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=len(LABELS), **args)
    model.pretrained_cfg["label_names"] = LABELS
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    return model.eval()


def other_images(model: nn.Module, count: int) -> Tensor:
    """Inputs that the export has not seen."""
    size = resolve_input_data_config(model)["input_size"]
    return torch.randn(count, *size, generator=torch.Generator().manual_seed(9))
