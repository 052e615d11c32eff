"""Vision transformers with and without a memory, all made of the same blocks, by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import torch
from timm.layers import PatchEmbed, trunc_normal_
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ait.associative_transformer import AssociativeTransformer
from ait.latent import RecallMerge, Workspace
from training.experiments.blocks.memories import ClassPriors, DatasetMemory, PriorKeys


@dataclass(frozen=True)
class Size:
    """Size of a trial's models.

    Attributes:
        image: Side of the images in pixels.
        classes: Classes.
        width: Token width E.
        heads: Heads of self-attention.
        merged: Tokens left after a merge.
        prototypes: Priors of a memory of the data set.
        priors: Priors that attention reads.
        patch: Side of a patch in pixels.
    """

    image: int = 32
    classes: int = 10
    width: int = 192
    heads: int = 3
    merged: int = 16
    prototypes: int = 1024
    priors: int = 32
    patch: int = 4

    @property
    def grid(self) -> int:
        """Patches along a side."""
        return self.image // self.patch


class Transformer(nn.Module):
    """Vision transformer with average pooling, and places for memories.

    Args:
        size: Sizes.
        stages: Turns tokens (B, N, E) into tokens, one after another; `Supervised` stages give logits too.
        prototypes: Memory of patches of pixels, read beside the patch embedding.
    """

    def __init__(self, size: Size, stages: list[nn.Module], prototypes: DatasetMemory | None = None) -> None:
        super().__init__()
        self.patch = size.patch
        self.patch_embed = PatchEmbed(size.image, size.patch, 3, size.width)
        self.pos_embed = nn.Parameter(torch.zeros(1, size.grid**2, size.width))
        self.prototypes = prototypes
        self.stages = nn.ModuleList(stages)
        self.norm = nn.LayerNorm(size.width)
        self.head = nn.Linear(size.width, size.classes)
        trunc_normal_(self.pos_embed, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Images (B, 3, S, S) to logits (B, C)."""
        return self.forward_supervised(images)[0]

    def forward_supervised(self, images: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Images (B, 3, S, S) to logits (B, C), and the logits of read-outs within."""
        x = self.patch_embed(images) + self.pos_embed
        if self.prototypes is not None:
            pixels = nn.functional.unfold(images, self.patch, stride=self.patch).mT  # (B, N, 3 * P * P)
            x = x + self.prototypes(pixels)
        within = []
        for stage in self.stages:
            if isinstance(stage, Supervised):
                x, logits = stage(x)
                within.append(logits)
            else:
                x = stage(x)
        return self.head(self.norm(x).mean(1)), within


def block(size: Size, mlp_ratio: float = 4.0) -> Block:
    """Make timm's block of a vision transformer."""
    return Block(size.width, size.heads, mlp_ratio, qkv_bias=True)


class WithPriorKeys(nn.Module):
    """A block whose attention reads priors too. The block may be shared with other places."""

    def __init__(self, inner: Block, priors: PriorKeys) -> None:
        super().__init__()
        self.inner = inner
        self.priors = priors

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to tokens."""
        x = x + self.priors(self.inner.attn, self.inner.norm1(x))
        return x + self.inner.mlp(self.inner.norm2(x))


class WithDatasetMemory(nn.Module):
    """A block with a memory of the data set beside its MLP, asked by a projection of what the MLP reads."""

    def __init__(self, inner: Block, memory: DatasetMemory, key_dim: int) -> None:
        super().__init__()
        self.inner = inner
        self.query = nn.Linear(memory.values.shape[1], key_dim)
        self.memory = memory

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to tokens."""
        x = x + self.inner.attn(self.inner.norm1(x))
        seen = self.inner.norm2(x)
        return x + self.inner.mlp(seen) + self.memory(self.query(seen))


class Supervised(nn.Module):
    """A block, and priors of classes that its tokens recall."""

    def __init__(self, inner: Block, priors: ClassPriors) -> None:
        super().__init__()
        self.inner = inner
        self.priors = priors

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, N, E) to tokens and logits (B, C)."""
        x = self.inner(x)
        read, logits = self.priors(x)
        return x + read, logits


class PoolPatches(nn.Module):
    """Average squares of two by two tokens: the anchor for merging."""

    def __init__(self, grid: int) -> None:
        super().__init__()
        self.grid = grid

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to (B, N / 4, E)."""
        squares = x.unflatten(1, (self.grid // 2, 2, self.grid // 2, 2))
        return squares.mean((2, 4)).flatten(1, 2)


class MergeSimilar(nn.Module):
    """Merge every other token into the most similar one of the rest, by ToMe's matching (arXiv 2210.09461)."""

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to (B, N / 2, E)."""
        direction = nn.functional.normalize(x.detach(), dim=-1)
        target = (direction[:, ::2] @ direction[:, 1::2].mT).argmax(-1, keepdim=True)  # (B, N / 2, 1)
        merged = x[:, ::2]
        sums = x[:, 1::2].scatter_add(1, target.expand_as(merged), merged)
        counts = x.new_ones(*merged.shape[:2], 1)
        return sums / counts.scatter_add(1, target, counts)


def _vit(size: Size) -> nn.Module:
    return Transformer(size, [block(size), block(size)])


def _vit_one_block(size: Size) -> nn.Module:
    return Transformer(size, [block(size)])


def _vit_wider(size: Size) -> nn.Module:
    # As many parameters as with prototypes of patches.
    added = size.prototypes * (size.width + 3 * size.patch**2)
    return Transformer(size, [block(size, 4.0 + added / (4 * size.width**2)) for _ in range(2)])


def _ait(size: Size, memory: str) -> nn.Module:
    return AssociativeTransformer(
        size.image,
        size.patch,
        num_classes=size.classes,
        embed_dim=size.width,
        depth=2,
        num_heads=size.heads,
        memory=memory,
    )


def _attention(size: Size) -> nn.Module:
    return Transformer(size, [WithPriorKeys(block(size), PriorKeys(size.width, size.priors)) for _ in range(2)])


def _shared(size: Size) -> nn.Module:
    inner = block(size)
    return Transformer(size, [WithPriorKeys(inner, PriorKeys(size.width, size.priors)) for _ in range(2)])


def _shared_without(size: Size) -> nn.Module:
    inner = block(size)
    return Transformer(size, [inner, inner])


def _patch_prototypes(size: Size) -> nn.Module:
    memory = DatasetMemory(3 * size.patch**2, size.width, size.prototypes)
    return Transformer(size, [block(size), block(size)], memory)


def _token_prototypes(size: Size) -> nn.Module:
    key_dim = 32
    stages: list[nn.Module] = [
        WithDatasetMemory(block(size), DatasetMemory(key_dim, size.width, size.prototypes), key_dim) for _ in range(2)
    ]
    return Transformer(size, stages)


def _classes(size: Size) -> nn.Module:
    return Transformer(size, [Supervised(block(size), ClassPriors(size.width, size.classes)) for _ in range(2)])


def _merge(size: Size) -> nn.Module:
    return Transformer(size, [block(size), RecallMerge(size.width, size.merged, compete=True), block(size)])


def _merge_similar(size: Size) -> nn.Module:
    return Transformer(size, [block(size), MergeSimilar(), MergeSimilar(), block(size)])


def _pool(size: Size) -> nn.Module:
    return Transformer(size, [block(size), PoolPatches(size.grid), block(size)])


def _workspace(size: Size) -> nn.Module:
    merges = [RecallMerge(size.width, size.merged) for _ in range(4)]
    return Transformer(size, [block(size), Workspace(block(size), merges)])


def _pool_shared(size: Size) -> nn.Module:
    inner = block(size)
    return Transformer(size, [block(size), PoolPatches(size.grid), *[inner] * 4])


@dataclass(frozen=True)
class Design:
    """One model of the trial.

    Attributes:
        make: Makes it untrained.
        about: What it is, in a phrase.
        controls: Models without a memory to compare it with: of equal parameters, of equal multiply-adds.
    """

    make: Callable[[Size], nn.Module]
    about: str
    controls: tuple[str, ...] = ()


DESIGNS: Final = {
    "vit": Design(_vit, "two blocks, no memory"),
    "vit-1": Design(_vit_one_block, "one block, no memory"),
    "vit-wide": Design(_vit_wider, "two blocks with wider MLPs, no memory"),
    "shared-none": Design(_shared_without, "one block passed twice, no memory"),
    "pool": Design(_pool, "tokens averaged by fours after the first block, no memory"),
    "tome": Design(_merge_similar, "similar tokens merged to a quarter after the first block, no memory"),
    "pool-shared": Design(_pool_shared, "as pool, the second block passed four times, no memory"),
    "ait-none": Design(partial(_ait, memory="none"), "blocks of `ait_*` models, no memory"),
    "default": Design(partial(_ait, memory="orthogonal"), "the memory of `ait_*` models", ("ait-none", "vit")),
    "published": Design(partial(_ait, memory="published"), "the memory of arXiv 2309.12862", ("ait-none", "vit")),
    "attention": Design(_attention, "priors as further keys and values of attention", ("vit",)),
    "shared": Design(
        _shared, "one block passed twice, each pass with priors of its own", ("shared-none", "vit-1", "vit")
    ),
    "patch-prototypes": Design(
        _patch_prototypes, "prototypes of patches over the data set beside the patch embedding", ("vit-wide", "vit")
    ),
    "token-prototypes": Design(
        _token_prototypes, "prototypes of tokens over the data set beside the MLPs", ("vit-wide", "vit")
    ),
    "classes": Design(_classes, "priors of classes after each block, supervised", ("vit",)),
    "merge": Design(_merge, "tokens of one prior merged after the first block", ("pool", "tome", "vit")),
    "workspace": Design(
        _workspace,
        "the second block passed four times over tokens merged anew by each pass's priors",
        ("pool-shared", "vit"),
    ),
}


def parameters(model: nn.Module) -> int:
    """Count what a model stores: parameters, and buffers such as written keys."""
    return sum(value.numel() for value in [*model.parameters(), *model.buffers()])


@torch.no_grad()
def multiply_adds(model: nn.Module, size: Size) -> int:
    """Count multiply-adds of an image in evaluation."""
    model.eval()
    counter: Any = FlopCounterMode(display=False)
    # The counter knows attention as the products that it is made of alone.
    with counter, sdpa_kernel(SDPBackend.MATH):
        model(torch.zeros(1, 3, size.image, size.image))
    return int(counter.get_total_flops()) // 2
