"""Switch self-attention to separate products where torch's fused kernel is the slower one."""

import copy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ait.self_attention import SelfAttention, products_are_faster


def take_plain_attention(model: nn.Module, *example: Tensor, dtype: torch.dtype) -> int:
    """Switch timm's attention layers of a model in place, each by the number of tokens that it reads.

    Args:
        model: Any timm model. Layers that know no fused kernel, or choose by themselves, stay as they are.
        *example: A batch of one, where the model is, put through a copy of it to see how many tokens there are.
        dtype: Of queries, keys and values in training.

    Returns:
        How many layers were switched.
    """
    names = [
        name
        for name, layer in model.named_modules()
        if getattr(layer, "fused_attn", False) is True and not isinstance(layer, SelfAttention)
    ]
    if not names:
        return 0
    switched: list[str] = []
    probe = copy.deepcopy(model).eval()  # a copy: a memory may be written in evaluation too
    for name in names:
        probe.get_submodule(name).register_forward_pre_hook(partial(_note, switched, name, dtype))
    with torch.no_grad():
        probe(*example)
    for name in switched:
        layer: Any = model.get_submodule(name)
        layer.fused_attn = False
    return len(switched)


def _note(switched: list[str], name: str, dtype: torch.dtype, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
    heads = getattr(layer, "num_heads", None)
    # Other layouts than (B, N, E) are left alone.
    if not heads or not inputs or not isinstance(inputs[0], Tensor) or inputs[0].ndim != 3:
        return
    _, tokens, width = inputs[0].shape
    if products_are_faster(inputs[0].device, dtype, tokens, width // heads):
        switched.append(name)
