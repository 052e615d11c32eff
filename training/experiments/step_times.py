"""Time training steps of models in turns, so that whatever else the machine does falls on all of them alike."""

import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

_ROUNDS = 7


def step_times(models: Mapping[str, nn.Module], loss: Callable[[nn.Module], Tensor]) -> dict[str, float]:
    """Time a forward and a backward pass of each model.

    Args:
        models: By label; they are trained as far as their memories are written.
        loss: Computes a model's loss of one batch.

    Returns:
        Seconds of each, the least of several.
    """
    seconds = dict.fromkeys(models, float("inf"))
    for _ in range(_ROUNDS):
        for label, model in models.items():
            model.train()
            _wait()
            began = time.perf_counter()
            loss(model).backward()
            _wait()
            seconds[label] = min(seconds[label], time.perf_counter() - began)
            model.zero_grad()
    return seconds


def _wait() -> None:
    """Wait for what an accelerator was told to do."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
