"""Perceiver: a latent array that reads the input by cross-attention, again and again (arXiv 2103.03206)."""

import math
from typing import Any

import torch
from timm.layers import GluMlp, to_2tuple, trunc_normal_
from torch import Tensor, nn

from ait.baselines.classifier import SetClassifier
from ait.baselines.set_attention import SetAttention


def fourier_positions(grid: tuple[int, int], num_bands: int, max_frequency: float) -> Tensor:
    """Encode positions of a grid (section 3.2).

    Args:
        grid: Rows and columns.
        num_bands: Frequencies, equally spaced from 1 to half of ``max_frequency``.
        max_frequency: Twice the highest frequency: that of the pixels, for the input's full resolution.

    Returns:
        For each axis the position in [-1, 1], and ``sin`` and ``cos`` of ``pi f`` times it; shape
        (rows * columns, 2 * (2 * num_bands + 1)).
    """
    frequencies = math.pi * torch.linspace(1.0, max_frequency / 2, num_bands)
    axes = torch.meshgrid(*(torch.linspace(-1.0, 1.0, length) for length in grid), indexing="ij")
    places = torch.stack(axes, dim=-1).flatten(0, 1)  # (N, 2)
    angles = places[..., None] * frequencies  # (N, 2, bands)
    return torch.cat([angles.sin(), angles.cos(), places[..., None]], dim=-1).flatten(1)


class LatentBlock(nn.Module):
    """Attention and feed-forward network with pre-normalisation, both added to the latents.

    Args:
        dim: Width D of the latents.
        num_heads: Heads.
        head_dim: Width of a head.
        source_dim: Width of what is read; None: the latents read each other.
    """

    def __init__(self, dim: int, num_heads: int, head_dim: int, source_dim: int | None = None) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.norm_source = nn.LayerNorm(source_dim) if source_dim else None
        self.attn = SetAttention(dim, num_heads, source_dim, head_dim, bias=False)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = GluMlp(dim, 8 * dim, dim, act_layer=nn.GELU, gate_last=True)

    def forward(self, latents: Tensor, source: Tensor | None = None) -> Tensor:
        """Update latents (B, M, D) from themselves or, where they do not read each other, a source (B, N, C)."""
        rows = self.norm1(latents)
        read = rows if self.norm_source is None or source is None else self.norm_source(source)
        latents = latents + self.attn(rows, read)
        return latents + self.mlp(self.norm2(latents))


class Reading(nn.Module):
    """Let the latents read the input, and then each other.

    Args:
        dim: Width D of the latents.
        source_dim: Width of the input.
        self_depth: Self-attentions after the reading.
        num_heads: Heads of self-attention; cross-attention has one.
        head_dim: Width of a head.
    """

    def __init__(self, dim: int, source_dim: int, self_depth: int, num_heads: int, head_dim: int) -> None:
        super().__init__()
        self.cross = LatentBlock(dim, 1, head_dim, source_dim)
        self.blocks = nn.Sequential(*[LatentBlock(dim, num_heads, head_dim) for _ in range(self_depth)])

    def forward(self, latents: Tensor, source: Tensor) -> Tensor:
        """Update latents (B, M, D) from an input (B, N, C)."""
        return self.blocks(self.cross(latents, source))


class Perceiver(SetClassifier):
    """Perceiver of pixels or patches (arXiv 2103.03206).

    The feed-forward networks are gated (GEGLU, arXiv 2002.05202) and four times as wide as the latents, as in the
    implementation whose size the published table has.

    Args:
        img_size: Input size in pixels.
        patch_size: Side of the squares that are one input each; 1 is the paper's.
        in_chans: Input channels.
        num_classes: Classes; 0 removes the head.
        global_pool: How the latents become one vector; see `SetClassifier`.
        embed_dim: Width D of the latents.
        num_latents: Latents M.
        depth: Times that the input is read, each followed by self-attention.
        self_depth: Self-attentions after each reading.
        num_heads: Heads of self-attention; cross-attention has one.
        head_dim: Width of a head.
        num_bands: Frequencies of the positions.
        max_frequency: Twice the highest frequency.
        share: Use the same weights from the second reading on, as the paper does for large inputs.
        drop_rate: Dropout before the head.

    Raises:
        ValueError: If the patches do not tile the image.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 1,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        embed_dim: int = 512,
        num_latents: int = 256,
        depth: int = 6,
        self_depth: int = 1,
        num_heads: int = 8,
        head_dim: int = 64,
        num_bands: int = 6,
        max_frequency: float = 10.0,
        share: bool = False,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(embed_dim, num_latents, num_classes, in_chans, global_pool, drop_rate)
        size: Any = to_2tuple(img_size)
        if size[0] % patch_size or size[1] % patch_size:
            raise ValueError(f"Patches of {patch_size} pixels do not tile images of {size}.")
        self.patches = nn.PixelUnshuffle(patch_size)
        positions = fourier_positions((size[0] // patch_size, size[1] // patch_size), num_bands, max_frequency)
        self.register_buffer("positions", positions, persistent=False)
        self.positions: Tensor
        source_dim = in_chans * patch_size**2 + positions.shape[1]
        self.latents = nn.Parameter(torch.empty(1, num_latents, embed_dim))
        trunc_normal_(self.latents, std=0.02)
        self.share = share
        self.layers = nn.ModuleList(
            [
                Reading(embed_dim, source_dim, self_depth, num_heads, head_dim)
                for _ in range(min(2, depth) if share else depth)
            ]
        )
        self.depth = depth
        self.norm = nn.LayerNorm(embed_dim)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into latents (B, M, D)."""
        x = self.patches(x).flatten(2).mT  # (B, N, C * P * P)
        source = torch.cat([x, self.positions.to(x.dtype).expand(len(x), -1, -1)], dim=-1)
        latents = self.latents.expand(len(x), -1, -1)
        for number in range(self.depth):
            latents = self.layers[min(number, len(self.layers) - 1)](latents, source)
        return self.norm(latents)
