"""What all models with an associative memory in their blocks have in common, whatever else they are made of."""

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from timm.layers import PatchEmbed
from torch import Tensor, nn

from ait.block import AssociativeBlock


class TrainingOutput(NamedTuple):
    """What a model returns from its explicit training call.

    Attributes:
        logits: Shape (B, num_classes).
        balance_loss: Sum over blocks of the balance losses, a scalar to add to the task's loss, scaled.
        usage: Share of recall of each prior in each block with a memory, shape (L, M), without gradient; (0, 0) where
            no block has one.
        write_change: Root mean square change of a prior's entries by this step's write, shape (L,); (0,) likewise.
    """

    logits: Tensor
    balance_loss: Tensor
    usage: Tensor
    write_change: Tensor


class AssociativeModel(nn.Module):
    """A transformer of which some or all blocks carry a memory.

    Attributes:
        blocks: All blocks, from the first to the last.
        norm: Normalisation of the last block's tokens.
        num_prefix_tokens: Tokens before those of patches.
        num_classes: Width of the logits.
        patch_embed: Turns images into tokens.
    """

    if TYPE_CHECKING:  # TorchScript would take these for attributes of its own types
        blocks: nn.Sequential
        norm: nn.Module
        num_prefix_tokens: int
        num_classes: int
        patch_embed: PatchEmbed
        forward_head: Any
        get_classifier: Any

    @torch.jit.ignore
    def associative_blocks(self) -> list[AssociativeBlock]:
        """Return the blocks that carry a memory, from the first to the last."""
        return [block for block in self.blocks if isinstance(block, AssociativeBlock)]

    @torch.jit.ignore
    def embed_patches(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into tokens with positions, (B, N, E), as the first block takes them."""
        raise NotImplementedError(f"{type(self).__name__} does not say how images become tokens")

    @torch.jit.ignore
    def forward_training(self, x: Tensor) -> TrainingOutput:
        """Images (B, C, H, W) to logits, and what training needs besides: balance loss, write statistics."""
        x = self.embed_patches(x)
        balance, usage, change = [], [], []
        for block in self.blocks:
            if not isinstance(block, AssociativeBlock):
                x = block(x)
                continue
            before = block.workspace.memory.priors.clone()
            output = block.forward_training(x)
            x = output.tokens
            balance.append(output.balance_loss)
            usage.append(output.usage.detach())
            change.append((output.priors.detach() - before).square().mean().sqrt())
        logits = self.forward_head(self.norm(x))
        if not usage:
            return TrainingOutput(logits, logits.new_zeros(()), x.new_zeros(0, 0), x.new_zeros(0))
        return TrainingOutput(logits, torch.stack(balance).sum(), torch.stack(usage), torch.stack(change))
