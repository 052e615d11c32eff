"""Transformers that read a question as a token among those of the image.

Two ways of reading. *One-way*: the question reads the image and the image does not read the question, so that an image
is encoded once for all its questions. *Mutual*, as in AiT's paper: the question is the first token, and every question
is a sequence of its own.
"""

from typing import Final

import torch
from timm.layers import trunc_normal_
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from ait.baselines.coordination import CoordinationLayer
from ait.block import AssociativeBlock
from ait.latent.recall_merge import RecallMerge
from ait.latent.transformer import Workspace
from ait.workspace import MemoryConfig, memory_config
from training.data.sources.sort_of_clevr import ANSWERS, QUESTION_BITS, SIZE

MODELS: Final = ("ait", "ait-delta", "vit", "workspace", "coordination")
# Of `WorkspaceTransformer` too.
_PASSES: Final = 4
_NUM_LATENTS: Final = 16


def one_way_mask(num_image: int, num_tokens: int, device: torch.device) -> Tensor:
    """Say which token (row) reads which (column), bool (T, T): all read the image, and a question reads itself."""
    image = torch.arange(num_tokens, device=device) < num_image
    return image | torch.eye(num_tokens, dtype=torch.bool, device=device)


class QuestionBlock(AssociativeBlock):
    """AiT's block, for sequences of image tokens followed by questions.

    Args:
        num_image: Image tokens, which do not read those after them.
        dim: Token width E.
        num_heads: Heads of self-attention.
        memory: How the memory is written and read.
        attention: ``softmax`` or ``delta``; the latter knows no masks and is for mutual reading alone.
    """

    def __init__(
        self, num_image: int | None, dim: int, num_heads: int, memory: MemoryConfig, attention: str = "softmax"
    ) -> None:
        super().__init__(dim, num_heads, 4.0, memory, attention=attention)
        self.num_image = num_image

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Compute tokens after self-attention, and the queries h put to the memory; both (B, N, E)."""
        mask = None if self.num_image is None else one_way_mask(self.num_image, x.shape[1], x.device)
        x = x + self.attn(self.norm1(x), attn_mask=mask)
        return x, self.post_norm(self.mlp(self.norm2(x)))


class QuestionWorkspace(Workspace):
    """Passes of one block over latent tokens, which merge the image's anew in each, and over questions that read them.

    Args:
        num_image: Image tokens, which come before the questions.
        dim: Token width E.
        num_heads: Heads of self-attention.
    """

    def __init__(self, num_image: int, dim: int, num_heads: int) -> None:
        merges = [RecallMerge(dim, _NUM_LATENTS) for _ in range(_PASSES)]
        super().__init__(Block(dim, num_heads, qkv_bias=True), merges)
        self.num_image = num_image

    def forward(self, x: Tensor) -> Tensor:
        """Image and questions (B, N + Q, E) to latent tokens and questions (B, M + Q, E)."""
        image, asked = x[:, : self.num_image], x[:, self.num_image :]
        latent = torch.zeros_like(image[:, :1])
        for merge in self.merges:
            latent = latent + merge(image)  # (B, M, E)
            x = torch.cat([latent, asked], dim=1)  # (B, M + Q, E)
            x = self.block(x, attn_mask=one_way_mask(latent.shape[1], x.shape[1], x.device))
            latent, asked = x.split([latent.shape[1], asked.shape[1]], dim=1)
        return x


class ConvolutionalStem(nn.Sequential):
    """Two convolutions from 75 × 75 pixels to 5 × 5 tokens, of patches of 5 pixels and of 3 × 3 of those.

    Args:
        dim: Token width E.
    """

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Conv2d(3, 64, 5, 5), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, dim, 3, 3))


class RelationalModel(nn.Module):
    """Answer questions about images.

    Args:
        kind: One of `MODELS`: AiT's blocks, those with delta attention, timm's blocks, timm's blocks of which the last
            is that of a latent workspace, or Coordination's layer.
        dim: Token width E.
        depth: Blocks; Coordination applies one layer as often.
        num_heads: Heads.
        patch_size: Side of the image's patches; None: `ConvolutionalStem` makes 5 × 5 tokens.
        mutual: The image reads the question too, and the head reads all tokens, as in AiT's paper.
        memory: Named memory of AiT's blocks, as `memory_config` knows them.
        memory_args: Settings of the memory that differ from the named one's.

    Raises:
        ValueError: If there is no such model, the patches do not tile the image, or it reads the other way alone.
    """

    def __init__(
        self,
        kind: str,
        dim: int = 128,
        depth: int = 4,
        num_heads: int = 4,
        patch_size: int | None = None,
        mutual: bool = False,
        memory: str = "orthogonal",
        memory_args: dict[str, object] | None = None,
    ) -> None:
        super().__init__()
        if kind not in MODELS:
            raise ValueError(f"Unknown model {kind!r}; choose one of {', '.join(MODELS)}.")
        if patch_size is not None and SIZE % patch_size:
            raise ValueError(f"Patches of {patch_size} pixels do not tile images of {SIZE}.")
        if kind == "ait-delta" and not mutual:
            raise ValueError("Delta attention knows no masks; set mutual.")
        if kind == "workspace" and mutual:
            raise ValueError("A workspace's latent tokens are of the image alone; leave mutual out.")
        self.mutual = mutual
        self.stem = ConvolutionalStem(dim) if patch_size is None else nn.Conv2d(3, dim, patch_size, patch_size)
        self.num_image = 25 if patch_size is None else (SIZE // patch_size) ** 2
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_image, dim))
        trunc_normal_(self.pos_embed, std=0.02)
        self.question = nn.Sequential(nn.Linear(QUESTION_BITS, dim), nn.LayerNorm(dim))
        before = None if mutual else self.num_image
        self.coordination = kind == "coordination"
        self.depth = depth
        layers: list[nn.Module]
        if kind == "vit":
            layers = [Block(dim, num_heads, qkv_bias=True) for _ in range(depth)]
        elif kind == "workspace":
            layers = [Block(dim, num_heads, qkv_bias=True) for _ in range(depth - 1)]
            layers.append(QuestionWorkspace(self.num_image, dim, num_heads))
        elif kind == "coordination":
            # k = 5 is the paper's for this set.
            layers = [CoordinationLayer(dim, num_heads, 2 * dim, "workspace", num_slots=8, top_k=5)]
        else:
            config = memory_config(memory, **(memory_args or {}))
            attention = "delta" if kind == "ait-delta" else "softmax"
            layers = [QuestionBlock(before, dim, num_heads, config, attention) for _ in range(depth)]
        self.blocks = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim * (self.num_image + 1 if mutual else 1), len(ANSWERS))

    def forward(self, images: Tensor, questions: Tensor) -> tuple[Tensor, Tensor]:
        """Answer Q questions about each image.

        Args:
            images: Shape (B, 3, 75, 75), in [0, 1].
            questions: Bits, shape (B, Q, 18).

        Returns:
            Logits, shape (B, Q, 10), and the balance loss, a scalar.
        """
        tokens = self.stem(images - 0.5).flatten(2).mT + self.pos_embed  # (B, N, E)
        asked = self.question(questions.to(tokens.dtype))  # (B, Q, E)
        if not self.mutual:
            x, balance = self._encode(torch.cat([tokens, asked], dim=1))
            return self.head(self.norm(x[:, -asked.shape[1] :])), balance
        image, question = tokens.repeat_interleave(asked.shape[1], 0), asked.flatten(0, 1)[:, None]
        x, balance = self._encode(torch.cat([question, image], dim=1))  # (B * Q, 1 + N, E)
        return self.head(self.norm(x).flatten(1)).unflatten(0, asked.shape[:2]), balance

    def associative_blocks(self) -> list[AssociativeBlock]:
        """Return the blocks that carry a memory."""
        return [block for block in self.blocks if isinstance(block, AssociativeBlock)]

    def has_memory(self) -> bool:
        """Whether there is a memory to take away, in blocks or in the passes of a workspace."""
        return bool(self.associative_blocks()) or any(isinstance(block, QuestionWorkspace) for block in self.blocks)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        balance = x.new_zeros(())
        if self.coordination:
            return self._coordinate(x), balance
        mask = None if self.mutual else one_way_mask(self.num_image, x.shape[1], x.device)
        for block in self.blocks:
            if isinstance(block, QuestionBlock):
                output = block.forward_training(x)
                x, balance = output.tokens, balance + output.balance_loss
            elif isinstance(block, QuestionWorkspace):
                x = block(x)
            else:
                x = block(x, attn_mask=mask)
        return x, balance

    def _coordinate(self, x: Tensor) -> Tensor:
        """Run the shared layer; in one-way reading only the image's tokens write."""
        (layer,) = self.blocks
        assert isinstance(layer, CoordinationLayer)
        assert layer.workspace is not None
        slots = layer.workspace.initial_slots(len(x))
        writers = x.shape[1] if self.mutual else self.num_image
        for _ in range(self.depth):
            x, slots = _coordinate_once(layer, x, slots, writers)
        return x


def _coordinate_once(layer: CoordinationLayer, x: Tensor, slots: Tensor, writers: int) -> tuple[Tensor, Tensor]:
    workspace = layer.workspace
    assert workspace is not None
    _, slots = workspace(x[:, :writers], slots)
    x = layer.norm1(x + workspace.broadcast(x, slots))
    return layer.norm2(x + layer.mlp(x)), slots
