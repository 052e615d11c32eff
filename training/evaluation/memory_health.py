"""Measure whether an associative memory works, as columns of the metrics."""

import torch
from torch import Tensor, nn

from ait import AssociativeTransformer
from ait.interpret.memory_report import memory_report

_IMAGES = 512


def memory_columns(model: nn.Module, images: Tensor) -> dict[str, float]:
    """Measure what each block's memory does on some images.

    Args:
        model: Any model; only an `AssociativeTransformer` has anything to report.
        images: (B, C, H, W), normalised, on the model's device.

    Returns:
        ``memory/block{i}/{quantity}`` for every scalar of `ait.interpret.memory_report.memory_report`; empty
        otherwise.
    """
    if not isinstance(model, AssociativeTransformer):
        return {}
    return {
        f"memory/block{index}/{name}": float(value)
        for index, block in enumerate(memory_report(model, images))
        for name, value in block.summary().items()
    }


def memory_sample(images: int) -> Tensor:
    """Choose at most 512 of some images, spread evenly, for they are sorted by class.

    Args:
        images: How many there are.

    Returns:
        Positions, (n,) int64.
    """
    return torch.linspace(0, images - 1, min(_IMAGES, images)).long()
