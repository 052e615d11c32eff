"""Attention between sets as its equation says, one row and one head after another."""

import math

import torch
from torch import Tensor

from ait.baselines.set_attention import SetAttention


def attend(layer: SetAttention, rows: Tensor, source: Tensor) -> Tensor:
    """What rows (M, E) of one example read from a source (N, F), with a layer's weights."""
    heads = layer.num_heads
    key_weight, value_weight = layer.kv.weight.chunk(2)
    key_bias, value_bias = (None, None) if layer.kv.bias is None else layer.kv.bias.chunk(2)
    queries = project(rows, layer.q.weight, layer.q.bias)
    keys, values = project(source, key_weight, key_bias), project(source, value_weight, value_bias)
    width = queries.shape[1] // heads
    joined = []
    for row in range(len(rows)):
        read = []
        for head in range(heads):
            part = slice(head * width, (head + 1) * width)
            scores = [float(queries[row, part] @ keys[n, part]) / math.sqrt(width) for n in range(len(source))]
            kept = sorted(range(len(source)), key=lambda n: -scores[n])[: layer.top_k or len(source)]
            total = sum(math.exp(scores[n]) for n in kept)
            read.append(sum(math.exp(scores[n]) / total * values[n, part] for n in kept))
        joined.append(torch.cat(read))
    return project(torch.stack(joined), layer.proj.weight, layer.proj.bias)


def project(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """``rows W^T + b``."""
    return rows @ weight.T if bias is None else rows @ weight.T + bias


def normalise(rows: Tensor, layer: torch.nn.LayerNorm) -> Tensor:
    """Layer normalisation (arXiv 1607.06450, eq. 4) of rows (N, E)."""
    mean = rows.mean(-1, keepdim=True)
    variance = ((rows - mean) ** 2).mean(-1, keepdim=True)
    return (rows - mean) / torch.sqrt(variance + layer.eps) * layer.weight + layer.bias
