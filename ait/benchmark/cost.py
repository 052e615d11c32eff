"""What a model costs, whatever the machine: parameters and multiply-adds."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode


class Cost(NamedTuple):
    """What a model costs.

    Attributes:
        parameters: How many there are.
        multiply_adds: Of matrix products and convolutions of one forward pass of one example.
    """

    parameters: int
    multiply_adds: int


def count_flops(step: Callable[[], object]) -> int:
    """Count multiply-adds x 2 of a step on the CPU; attention is counted as its two matrix products."""
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        step()
    return counter.get_total_flops()


def model_cost(model: nn.Module, *inputs: Tensor) -> Cost:
    """Count what a model costs for one example.

    Args:
        model: Any module, on the CPU. A copy is counted, which is in evaluation.
        *inputs: What it takes, of one example.
    """
    # The counter's hooks want gradients of whatever asks for them.
    frozen = copy.deepcopy(model).eval().requires_grad_(False)
    with torch.no_grad():
        flops = count_flops(lambda: frozen(*inputs))
    return Cost(sum(parameter.numel() for parameter in model.parameters()), flops // 2)
