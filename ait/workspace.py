"""The global workspace of a block: squash the batch, write the priors, retrieve every token from them."""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Final

import torch
from timm.layers import LayerScale
from timm.models import register_notrace_module
from torch import Tensor, nn

from ait.attention import BottleneckAttention, cv_squared
from ait.collectives import all_reduce_sum, world_size
from ait.memory.explicit import ExplicitMemory, orthogonalise
from ait.memory.hopfield import HopfieldRetrieval

TARGET_NORMALISATIONS: Final = ("layer", "orthogonal")

# A patch may recall one in so many priors before the balance loss objects.
FEW_PRIORS = 6


@dataclass(frozen=True)
class MemoryConfig:
    """How a block's memory is written and read.

    Attributes:
        num_priors: Priors M; 0 leaves the memory out of the blocks.
        prior_dim: Prior width D.
        num_heads: Heads H of the write attention.
        bottleneck: Tokens k that a prior and head reads from the batch.
        competition: Priors compete for each token before the top-k.
        centre: Subtract the mean token of the batch before the write.
        write_dropout: Dropout of the write attention's gates in training; the paper's is 0.1.
        target_normalisation: ``layer`` is the published ``LayerNorm(read + priors)``; ``orthogonal`` flattens
            the spectrum of what was read, so that priors stay distinct.
        write_rule: ``ewma``, ``hebbian``, ``decay``, ``delta`` or ``gated_delta``.
        write_rate: Step of a write.
        retention: Share of the old memory that gated rules keep.
        retrieval: Kernel, ``dot``, ``d2`` or ``d1``.
        beta: Inverse temperature of the retrieval, or its start if learned.
        learn_beta: Learn beta.
        steps: Retrieval steps.
        balance_recall: Weight, within the balance loss, of how unevenly priors are recalled over the batch, and
            of how many each patch recalls.
        scale: Start of the learned scale a channel of what is retrieved; ``None`` adds it unscaled.
        frozen: Write nothing in training either: fine-tuning then costs a third less, and the priors stay.
        adaptive: Write in evaluation too. Predictions then depend on the batch and on earlier inputs.
    """

    num_priors: int = 32
    prior_dim: int = 32
    num_heads: int = 8
    bottleneck: int = 512
    competition: bool = True
    centre: bool = True
    write_dropout: float = 0.0
    target_normalisation: str = "orthogonal"
    write_rule: str = "ewma"
    write_rate: float = 0.1
    retention: float = 0.9
    retrieval: str = "dot"
    beta: float = 4.0
    learn_beta: bool = False
    steps: int = 1
    balance_recall: float = 2.0
    scale: float | None = 1.0
    frozen: bool = False
    adaptive: bool = False

    def to_dict(self) -> dict[str, object]:
        """Return the settings as plain values, as a checkpoint's configuration holds them."""
        return asdict(self)


MEMORIES: Final = {
    "orthogonal": MemoryConfig(),
    "published": MemoryConfig(
        competition=False,
        centre=False,
        target_normalisation="layer",
        beta=1.0,
        balance_recall=0.0,
        scale=None,
    ),
}


def memory_config(name: str, **overrides: Any) -> MemoryConfig:
    """Look up a named memory, with some settings replaced.

    Args:
        name: ``orthogonal`` (the default of the models), ``published`` (arXiv 2309.12862), or ``none``, of no priors.
        **overrides: Fields of `MemoryConfig`.

    Raises:
        ValueError: If the name or a field is unknown.
    """
    named = {**MEMORIES, "none": MemoryConfig(num_priors=0)}
    if name not in named:
        raise ValueError(f"Unknown memory {name!r}; choose one of {', '.join(named)}.")
    known = {field.name for field in fields(MemoryConfig)}
    unknown = sorted(set(overrides) - known)
    if unknown:
        raise ValueError(f"Unknown memory settings {unknown}; known are {sorted(known)}.")
    return replace(named[name], **overrides)


@register_notrace_module
class GlobalWorkspace(nn.Module):
    """Squash, write, retrieve (arXiv 2309.12862, section 3).

    Args:
        dim: Token width E.
        config: How the memory is written and read.
    """

    adaptive: Final[bool]
    frozen: Final[bool]

    def __init__(
        self,
        dim: int,
        config: MemoryConfig,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if config.target_normalisation not in TARGET_NORMALISATIONS:
            raise ValueError(
                f"Unknown target normalisation {config.target_normalisation!r}; "
                f"choose one of {', '.join(TARGET_NORMALISATIONS)}."
            )
        if config.target_normalisation == "orthogonal" and config.num_priors < 2:
            raise ValueError(f"Orthogonal targets need at least 2 priors, got num_priors={config.num_priors}.")
        if config.frozen and config.adaptive:
            raise ValueError("A memory is frozen or adaptive, not both.")
        self.adaptive = config.adaptive
        self.frozen = config.frozen
        self.balance_recall = config.balance_recall
        self.memory = ExplicitMemory(
            config.num_priors, config.prior_dim, config.write_rule, config.write_rate, config.retention, device
        )
        self.write_attn = BottleneckAttention(
            dim,
            config.prior_dim,
            config.num_heads,
            config.bottleneck,
            config.competition,
            config.centre,
            config.write_dropout,
            device=device,
            dtype=dtype,
        )
        layer = config.target_normalisation == "layer"
        self.target_norm = nn.LayerNorm(config.prior_dim, device=device, dtype=dtype) if layer else None
        self.retrieval = HopfieldRetrieval(
            dim,
            config.prior_dim,
            config.retrieval,
            config.beta,
            config.learn_beta,
            config.steps,
            device=device,
            dtype=dtype,
        )
        if config.scale is None:
            self.ls: nn.Module = nn.Identity()
        else:
            self.ls = LayerScale(dim, init_values=config.scale, device=device, dtype=dtype)

    def writes(self) -> bool:
        """Whether a forward pass changes the memory."""
        return (self.training and not self.frozen) or self.adaptive

    @torch.jit.unused
    def write(self, tokens: Tensor, priors: Tensor) -> tuple[Tensor, Tensor]:
        """Let the tokens of the batch compete to change the priors.

        Args:
            tokens: Shape (B, N, E).
            priors: Unit-norm priors, shape (M, D), float32.

        Returns:
            New unit-norm priors (M, D), float32 and inside the graph, and the balance loss over tokens.
        """
        squashed = tokens.flatten(0, 1)  # (B * N, E)
        read, balance = self.write_attn(priors, squashed)
        # The priors stay float32 whatever precision the tokens have.
        with torch.autocast(squashed.device.type, enabled=False):
            if self.target_norm is not None:
                target = self.target_norm((read + priors).to(self.target_norm.weight.dtype)).float()
            else:
                target = orthogonalise(read)
            return self.memory.propose(priors, target), balance

    def forward(self, tokens: Tensor, priors: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Write if this pass writes, then retrieve every token.

        Args:
            tokens: Shape (B, N, E).
            priors: The memory before this pass, shape (M, D).

        Returns:
            Retrieved tokens (B, N, E); priors after the pass (M, D); the balance loss, a scalar: squared
            coefficients of variation over tokens (write) and over priors (recall); and the share of recall
            that each prior gets, shape (M,).
        """
        balance = torch.zeros((), device=tokens.device)
        # A batch without images says nothing; one of several processes has to take part all the same.
        writes = self.writes() and (tokens.shape[0] > 0 or self._has_peers())
        if writes:
            priors, balance = self.write(tokens, priors)
        retrieved, weights = self.read(tokens, priors)
        if writes:
            if self.balance_recall > 0:
                balance = balance + self.balance_recall * self._recall_balance(tokens, priors)
            return retrieved, priors, balance, self._usage(weights)
        return retrieved, priors, balance, weights.flatten(0, 1).mean(0)

    def read(self, tokens: Tensor, priors: Tensor) -> tuple[Tensor, Tensor]:
        """Retrieve tokens from priors, scaled as they are added.

        Args:
            tokens: Queries, shape (B, N, E).
            priors: Memory, shape (M, D).

        Returns:
            What is retrieved, shape (B, N, E), and the weight with which each token recalls each prior (B, N, M).
        """
        retrieved, weights = self.retrieval(tokens, priors)
        return self.ls(retrieved), weights

    @torch.jit.unused
    def _has_peers(self) -> bool:
        return world_size() > 1

    @torch.jit.unused
    def _usage(self, weights: Tensor) -> Tensor:
        """Mean recall of each prior over the global batch, shape (M,)."""
        total = all_reduce_sum(weights.float().flatten(0, 1).sum(0))
        return total / total.sum()

    @torch.jit.unused
    def _recall_balance(self, tokens: Tensor, priors: Tensor) -> Tensor:
        """Loss that is least when each patch recalls few priors and all priors are recalled alike, a scalar.

        The squared coefficient of variation of recall over priors, plus the entropy in nats of a patch's recall,
        averaged over patches, as far as it exceeds that of M / 6 priors. Without such a bound the entropy would
        go on falling at the cost of priors that nobody recalls. The gradient reaches the retrieval alone: through
        the tokens it would outweigh the task's in every layer below (ten times in norm at the start of training).
        """
        weights = self.retrieval.weights(tokens.detach(), priors.detach()).float().flatten(0, 1)  # (B * N, M)
        # Sharp recall underflows to zero, where the slope of the entropy is infinite.
        entropy = torch.special.entr(weights.clamp_min(1e-12)).sum()
        sums = all_reduce_sum(torch.cat([weights.sum(0), entropy.view(1)]))
        usage, entropy = sums[:-1], sums[-1]
        patches = usage.sum()  # rows sum to one
        count = torch.full((), usage.shape[0], device=usage.device)
        excess = (entropy / patches - math.log(max(usage.shape[0] / FEW_PRIORS, 1.0))).clamp_min(0)
        return cv_squared(usage.sum(), usage.square().sum(), count) + excess
