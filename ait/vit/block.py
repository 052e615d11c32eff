"""A block of timm's ViT with a memory beside its MLP, which adds nothing until training wakes it.

    x <- x + ls1(SelfAttention(norm1(x)))
    h  = MLP(norm2(x))
    x <- x + ls2(h) + scale * retrieve(LayerNorm(h), priors)

`ait.block.AssociativeBlock` normalises h for the residual stream and the memory alike; here only the memory's query is
normalised. With a scale of 0 the block is timm's.
"""

from typing import TYPE_CHECKING

import torch
from timm.layers import LayerNorm
from timm.models import checkpoint
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ait.block import AssociativeBlock, BlockOutput, BlockTrace
from ait.workspace import GlobalWorkspace, MemoryConfig


class ViTBlock(Block):
    """timm's block, which recomputes itself in the backward pass if it is told to."""

    grad_checkpointing = False

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Tokens (B, N, E) to tokens (B, N, E)."""
        if torch.jit.is_scripting():
            return self._run(x, attn_mask, is_causal)
        if self.grad_checkpointing and torch.is_grad_enabled():
            recomputed: Tensor = checkpoint(self._run, x, attn_mask, is_causal)
            return recomputed
        return self._run(x, attn_mask, is_causal)

    def _run(self, x: Tensor, attn_mask: Tensor | None, is_causal: bool) -> Tensor:
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x), attn_mask=attn_mask, is_causal=is_causal)))
        return x + self.drop_path2(self.ls2(self.mlp(self.norm2(x))))


class AssociativeViTBlock(AssociativeBlock):
    """The layers of a block of timm's ViT, and a workspace that recalls from the priors what its MLP says.

    Args:
        block: Gives its layers, under their names.
        dim: Token width E.
        memory: How the memory is written and read; with ``scale=0`` the block computes what `block` does.

    Raises:
        ValueError: The block is not built as timm's ViT builds its own.
    """

    if TYPE_CHECKING:  # TorchScript would take these for attributes of its own types
        ls1: nn.Module
        ls2: nn.Module

    def __init__(
        self,
        block: nn.Module,
        dim: int,
        memory: MemoryConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        # Not the parent's, which makes layers of its own.
        nn.Module.__init__(self)
        if not isinstance(block, Block):
            raise ValueError(f"A memory goes into blocks as timm's ViT has them, not into a {type(block).__name__}.")
        self.grad_checkpointing = False
        for name, layer in block.named_children():
            self.add_module(name, layer)
        self.memory_norm = LayerNorm(dim, device=device, dtype=dtype)
        self.workspace = GlobalWorkspace(dim, memory, device=device, dtype=dtype)

    def encode(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> tuple[Tensor, Tensor]:
        """Tokens after self-attention, and what the MLP says of them, h; both (B, N, E)."""
        x = x + self.drop_path1(self.ls1(self.attn(self.norm1(x), attn_mask=attn_mask, is_causal=is_causal)))
        return x, self.mlp(self.norm2(x))

    @torch.jit.unused
    def beside(self) -> nn.Module:
        """Return the layer to whose output what is retrieved is added."""
        return self.ls2

    @torch.jit.unused
    def trace(self, x: Tensor) -> BlockTrace:
        """Run the block on tokens (B, N, E) without writing, whatever the memory would do, and tell its queries."""
        x, h = self.encode(x)
        queries = self.memory_norm(h)
        retrieved, _ = self.workspace.read(queries, self.workspace.memory.priors)
        return BlockTrace(x + self.drop_path2(self.ls2(h) + retrieved), queries)

    def _run(
        self, x: Tensor, priors: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        x, h = self.encode(x, attn_mask, is_causal)
        retrieved, priors, balance, usage = self.workspace(self.memory_norm(h), priors)
        return x + self.drop_path2(self.ls2(h) + retrieved), priors, balance, usage

    def forward(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Tokens (B, N, E) to tokens (B, N, E). In training the memory is written, once."""
        if torch.jit.is_scripting():
            return self._run(x, self.workspace.memory.priors, attn_mask, is_causal)[0]
        return self._remember(x, attn_mask=attn_mask, is_causal=is_causal).tokens

    @torch.jit.unused
    def forward_training(self, x: Tensor) -> BlockOutput:
        """As `forward`, and returns the balance loss and statistics of the write too."""
        return self._remember(x)
