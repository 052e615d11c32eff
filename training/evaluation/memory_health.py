"""Measure whether an associative memory works and matters, as columns of the metrics."""

import torch
from torch import Tensor, nn

from ait import AssociativeModel
from ait.interpret.causal import causal_report, interventions
from ait.interpret.memory_report import memory_report

_IMAGES = 512


def memory_columns(model: nn.Module, images: Tensor, labels: Tensor) -> dict[str, float]:
    """Measure what each block's memory does on some images, and what the answers lose without it.

    Args:
        model: Any model; one without a memory has nothing to report.
        images: (B, C, H, W), normalised, on the model's device.
        labels: (B,) int64, their classes.

    Returns:
        ``memory/block{i}/{quantity}`` for every scalar of `ait.interpret.memory_report.memory_report` and for
        ``norm_ratio``; and ``memory/effect/{name}`` for every number of `ait.interpret.causal.causal_report`. Empty
        without a memory.
    """
    if not interventions(model):
        return {}
    columns = {}
    causal = causal_report(model, images, labels)
    blocks = []
    if isinstance(model, AssociativeModel) and model.associative_blocks():
        blocks = memory_report(model, images)
    for index, (block, ratio) in enumerate(zip(blocks, causal.norm_ratios, strict=True)):
        for name, value in (block.summary() | {"norm_ratio": ratio}).items():
            columns[f"memory/block{index}/{name}"] = float(value)
    return columns | {f"memory/effect/{name}": value for name, value in causal.summary().items()}


def memory_sample(images: int) -> Tensor:
    """Choose at most 512 of some images, spread evenly, for they are sorted by class.

    Args:
        images: How many there are.

    Returns:
        Positions, (n,) int64.
    """
    return torch.linspace(0, images - 1, min(_IMAGES, images)).long()
