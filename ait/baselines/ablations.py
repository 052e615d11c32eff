"""AiT with one of its parts taken away or replaced, as in the ablations of its paper (arXiv 2309.12862)."""

from typing import Any, Final, NamedTuple

import torch
from timm.layers import Attention, LayerNorm, Mlp
from torch import Tensor, nn

from ait.attention import ALL_WIN
from ait.baselines.classifier import PatchTokens, SetClassifier
from ait.baselines.set_attention import SetAttention
from ait.collectives import broadcast_first
from ait.workspace import GlobalWorkspace, MemoryConfig, memory_config

ABLATIONS: Final = ("none", "bottleneck", "self_attention", "memory", "hopfield", "balance_loss", "reset")


class AblationOutput(NamedTuple):
    """What a model returns from its explicit training call.

    Attributes:
        logits: Shape (B, num_classes).
        balance_loss: Sum over blocks, a scalar; zero where there is none.
    """

    logits: Tensor
    balance_loss: Tensor


class MultiheadRetrieval(nn.Module):
    """Multi-head attention from tokens to priors, in place of a Hopfield network.

    Args:
        dim: Token width E.
        prior_dim: Prior width D.
        num_heads: Heads.
    """

    def __init__(self, dim: int, prior_dim: int, num_heads: int) -> None:
        super().__init__()
        self.attn = SetAttention(dim, num_heads, source_dim=prior_dim)

    def weights(self, tokens: Tensor, priors: Tensor) -> Tensor:
        """Compute how much each token recalls each prior, mean over heads, shape (B, N, M)."""
        heads = self.attn.num_heads
        query = self.attn.q(tokens).unflatten(-1, (heads, -1))  # (B, N, H, d)
        key = self.attn.kv(priors.to(tokens.dtype)).chunk(2, dim=-1)[0].unflatten(-1, (heads, -1))  # (M, H, d)
        scores = torch.einsum("bnhd,mhd->bhnm", query, key) * key.shape[-1] ** -0.5
        return scores.softmax(-1).mean(1)

    def forward(self, tokens: Tensor, priors: Tensor) -> tuple[Tensor, Tensor]:
        """Read priors (M, D) by tokens (B, N, E); returns what is read (B, N, E) and the weights (B, N, M)."""
        source = priors.to(tokens.dtype).expand(len(tokens), -1, -1)
        return self.attn(tokens, source), self.weights(tokens, priors)


class AblatedBlock(nn.Module):
    """A block of AiT without a part.

    Args:
        dim: Token width E.
        num_heads: Heads of self-attention.
        mlp_ratio: Hidden width of the MLP over E.
        memory: How the memory is written and read.
        ablation: One of `ABLATIONS`.
    """

    def __init__(self, dim: int, num_heads: int, mlp_ratio: float, memory: MemoryConfig, ablation: str) -> None:
        super().__init__()
        attends = ablation != "self_attention"
        self.norm1 = LayerNorm(dim) if attends else None
        self.attn = Attention(dim, num_heads=num_heads, qkv_bias=True) if attends else None
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        self.post_norm = LayerNorm(dim)
        self.workspace = None if ablation == "memory" else GlobalWorkspace(dim, memory)
        if ablation == "hopfield" and self.workspace is not None:
            self.workspace.add_module("retrieval", MultiheadRetrieval(dim, memory.prior_dim, num_heads))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Turn tokens (B, N, E) into tokens and the balance loss; in training the memory is written."""
        if self.attn is not None and self.norm1 is not None:
            x = x + self.attn(self.norm1(x))
        queries = self.post_norm(self.mlp(self.norm2(x)))
        if self.workspace is None:
            return x + queries, x.new_zeros(())
        retrieved, priors, balance, _ = self.workspace(queries, self.workspace.memory())
        if self.workspace.writes():
            self.workspace.memory(priors)
        return x + queries + retrieved, balance


class AblatedAiT(SetClassifier):
    """AiT with one of its parts taken away.

    ``none`` takes nothing; ``bottleneck`` lets all tokens of the batch write; ``self_attention`` and ``memory`` leave
    these out; ``hopfield`` reads the priors by multi-head attention; ``balance_loss`` has no such loss; ``reset``
    draws the priors anew every ``reset_every`` updates, which is meant to be an epoch.

    Args:
        ablation: One of `ABLATIONS`.
        reset_every: Updates between resets.
        img_size: Input size in pixels.
        patch_size: Patch size in pixels.
        in_chans: Input channels.
        num_classes: Classes; 0 removes the head.
        global_pool: How the tokens become one vector, ``flat`` in the paper; see `SetClassifier`.
        embed_dim: Token width E.
        depth: Blocks.
        num_heads: Heads of self-attention.
        mlp_ratio: Hidden width of the MLP over E.
        memory: Named memory, ``published`` or ``orthogonal``.
        memory_args: Settings of the memory that differ from the named one's.
        drop_rate: Dropout before the head.

    Raises:
        ValueError: If the ablation is unknown, or a reset has no interval.
    """

    def __init__(
        self,
        ablation: str = "none",
        reset_every: int | None = None,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "flat",
        embed_dim: int = 768,
        depth: int = 2,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        memory: str = "published",
        memory_args: dict[str, Any] | None = None,
        drop_rate: float = 0.0,
    ) -> None:
        if ablation not in ABLATIONS:
            raise ValueError(f"Unknown ablation {ablation!r}; choose one of {', '.join(ABLATIONS)}.")
        if (ablation == "reset") != (reset_every is not None):
            raise ValueError("reset_every goes with ablation='reset', and with no other.")
        tokens = PatchTokens(img_size, patch_size, in_chans, embed_dim)
        super().__init__(embed_dim, tokens.num_tokens, num_classes, in_chans, global_pool, drop_rate)
        changes = {"bottleneck": ALL_WIN} if ablation == "bottleneck" else {}
        config = memory_config(memory, **{**(memory_args or {}), **changes})
        self.ablation = ablation
        self.reset_every = reset_every
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.updates: Tensor
        self.patch_embed = tokens
        self.blocks = nn.ModuleList(
            [AblatedBlock(embed_dim, num_heads, mlp_ratio, config, ablation) for _ in range(depth)]
        )
        self.norm = LayerNorm(embed_dim)
        reduction = tokens.proj.feat_ratio()
        self.feature_info = [
            {"module": f"blocks.{i}", "num_chs": embed_dim, "reduction": reduction} for i in range(depth)
        ]

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x, balance = self.patch_embed(x), x.new_zeros(())
        for block in self.blocks:
            x, added = block(x)
            balance = balance + added
        return self.norm(x), balance

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into normalised tokens (B, N, E)."""
        return self._encode(x)[0]

    def forward_training(self, x: Tensor) -> AblationOutput:
        """Turn images (B, C, H, W) into logits and the balance loss; counts an update."""
        if self.reset_every is not None and int(self.updates) and int(self.updates) % self.reset_every == 0:
            block: Any
            for block in self.blocks:
                if isinstance(block, AblatedBlock) and block.workspace is not None:
                    block.workspace.memory.reset_parameters()
                    broadcast_first(block.workspace.memory.priors)  # each process has drawn its own
        self.updates += 1
        tokens, balance = self._encode(x)
        return AblationOutput(self.forward_head(tokens), 0 * balance if self.ablation == "balance_loss" else balance)
