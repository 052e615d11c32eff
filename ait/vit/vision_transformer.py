"""timm's vision transformer with an associative memory in some or all of its blocks."""

from typing import Any

import torch
from timm.models import VisionTransformer
from torch import Tensor

from ait.associative_model import AssociativeModel
from ait.block import AssociativeBlock
from ait.vit.block import AssociativeViTBlock, ViTBlock
from ait.workspace import memory_config


class AssociativeVisionTransformer(AssociativeModel, VisionTransformer):
    """timm's ViT whose blocks may carry a memory, which answers as the ViT does until it is trained.

    Args:
        memory: Named memory, ``orthogonal`` or ``published``.
        memory_args: Settings of `MemoryConfig` that differ from the named memory's; ``scale`` is 0 unless it is given.
        memory_blocks: How many of the last blocks carry a memory; None is all.
        **vit: Arguments of timm's ``VisionTransformer``.

    Raises:
        ValueError: There are fewer blocks, or ``block_fn`` builds others than timm's ViT has.
    """

    def __init__(
        self,
        *,
        memory: str = "orthogonal",
        memory_args: dict[str, Any] | None = None,
        memory_blocks: int | None = None,
        **vit: Any,
    ) -> None:
        config = memory_config(memory, **{"scale": 0.0, **(memory_args or {})})
        super().__init__(**{"block_fn": ViTBlock, **vit})
        depth = len(self.blocks)
        count = depth if memory_blocks is None else memory_blocks
        if not 1 <= count <= depth:
            raise ValueError(f"memory_blocks is from 1 to {depth}, the number of blocks; got {memory_blocks}.")
        # After timm has initialised the ViT: memories initialise themselves.
        dd: dict[str, Any] = {"device": vit.get("device"), "dtype": vit.get("dtype")}
        for index in range(depth - count, depth):
            self.blocks[index] = AssociativeViTBlock(self.blocks[index], self.embed_dim, config, **dd)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay leaves alone."""
        return super().no_weight_decay() | {
            name for name, _ in self.named_parameters() if name.endswith("retrieval.log_beta")
        }

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass to save memory; the priors are still written once a step."""
        for block in self.blocks:
            if isinstance(block, AssociativeBlock | ViTBlock):
                block.grad_checkpointing = enable

    @torch.jit.ignore
    def embed_patches(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into tokens with positions, (B, N, E), as the first block takes them."""
        tokens: Tensor = self.norm_pre(self.patch_drop(self._pos_embed(self.patch_embed(x))))
        return tokens
