"""Time training steps of models in turns, so that whatever else the machine does falls on all of them alike."""

import time
from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

_ROUNDS = 7


def step_times(models: Mapping[str, nn.Module], images: Tensor, labels: Tensor) -> dict[str, float]:
    """Time a forward and a backward pass of each model on one batch.

    Args:
        models: By label; they are trained as far as their memories are written.
        images: Normalised, shape (B, C, H, W).
        labels: Classes, shape (B,) int64.

    Returns:
        Seconds of each, the least of several.
    """
    seconds = dict.fromkeys(models, float("inf"))
    for _ in range(_ROUNDS):
        for label, model in models.items():
            model.train()
            began = time.perf_counter()
            F.cross_entropy(model(images), labels).backward()
            seconds[label] = min(seconds[label], time.perf_counter() - began)
            model.zero_grad()
    return seconds
