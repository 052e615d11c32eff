"""Mimetic initialisation: self-attention that starts out as trained self-attention looks.

Source: Trockman & Kolter, Mimetic Initialization of Self-Attention Layers, arXiv 2305.09828. In trained
vision transformers the product of query and key weights has a strong positive diagonal and that of value and
projection weights a negative one; starting there saves a small data set from having to teach it.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import RecipeError

# Weights of noise and identity in the products, from section 3 of the source.
_QUERY_KEY = (0.7, 0.7)
_VALUE_PROJECTION = (0.4, -0.4)
_POSITION_SCALE = 0.5


@torch.no_grad()
def mimetic_attention(model: nn.Module, seed: int = 0) -> None:
    """Set self-attention weights and position embedding of a timm-style vision transformer, in place.

    Args:
        model: Has ``blocks`` with ``attn.qkv``, ``attn.proj``, and a ``pos_embed`` (1, N, E) over
            a square grid.
        seed: Of the noise in the weights.

    Raises:
        RecipeError: The model is built otherwise.
    """
    blocks = getattr(model, "blocks", None)
    position = getattr(model, "pos_embed", None)
    if blocks is None or position is None or not all(hasattr(block.attn, "qkv") for block in blocks):
        raise RecipeError("mimetic_attention needs a vision transformer with pos_embed and blocks[i].attn.qkv")
    generator = torch.Generator().manual_seed(seed)
    for block in blocks:
        _initialise(block.attn, generator)
    prefix = int(getattr(model, "num_prefix_tokens", 0))
    patches = position[:, prefix:]
    patches.copy_(_POSITION_SCALE * _sine_cosine(patches.shape[1], patches.shape[2]))


def _initialise(attention: Any, generator: torch.Generator) -> None:
    qkv, projection, heads = attention.qkv.weight, attention.proj.weight, attention.num_heads
    width = qkv.shape[1]
    size = width // heads
    for head in range(heads):
        left, right = _factors(width, size, _QUERY_KEY, generator)
        qkv[head * size : (head + 1) * size] = left.T  # queries
        qkv[width + head * size : width + (head + 1) * size] = right.T  # keys
    left, right = _factors(width, width, _VALUE_PROJECTION, generator)
    projection.copy_(left)
    qkv[2 * width :] = right.T


def _factors(width: int, rank: int, weights: tuple[float, float], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two (width, rank) factors of ``noise Z + diagonal I``, with Z normal of variance 1 / width."""
    noise, diagonal = weights
    product = noise * torch.randn(width, width, generator=generator) / width**0.5 + diagonal * torch.eye(width)
    left, singular, right = torch.linalg.svd(product)
    root = singular[:rank].sqrt()
    return left[:, :rank] * root, right[:rank].T * root


def _sine_cosine(length: int, width: int) -> Tensor:
    """Two-dimensional sine and cosine position embedding of a square grid, (length, width)."""
    side = math.isqrt(length)
    if side * side != length or width % 4:
        raise RecipeError("mimetic_attention needs a square grid of patches and a width divisible by 4")
    frequency = 1e-4 ** (torch.arange(width // 4) / (width // 4))
    row, column = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    angles = [place.flatten()[:, None] * frequency for place in (column, row)]
    return torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
