"""Bottleneck attention: the tokens of the whole batch compete to write into the priors.

Source: Associative Transformer, arXiv 2309.12862, eq. 2-5, as one batched operation over heads.
"""

from contextlib import suppress
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from ait.collectives import all_gather_last, all_reduce_sum, world_size

# So many winners that all tokens win, however many there are.
ALL_WIN: Final = 2**31

_IN_NUMPY: Final = (torch.float32, torch.float64)


class Gates(NamedTuple):
    """Sparse attention of priors to tokens.

    Attributes:
        weights: Softmax over the winners of each row, shape (H, M, k). Rows sum to one over all processes.
        winners: Position of each winner among this process's tokens, shape (H, M, k).
        won: 1 where the candidate is among the k winners of the global batch, shape (H, M, k).
    """

    weights: Tensor
    winners: Tensor
    won: Tensor


def bottleneck_gates(scores: Tensor, bottleneck: int) -> Gates:
    """Keep the ``bottleneck`` largest scores of each row of the global batch, softmax over those.

    Args:
        scores: Scores of this process's tokens, shape (H, M, T).
        bottleneck: Winners a row, counted over all processes; all tokens win where there are fewer.

    Returns:
        The gates. On several processes, a process holds its own candidates, and losers weigh zero.
    """
    index = largest(scores.detach(), min(bottleneck, scores.shape[-1]))  # (H, M, k)
    values = scores.gather(-1, index)
    if world_size() > 1:
        won, highest = _global_winners(values, bottleneck)
    else:
        won, highest = torch.ones_like(values), values.detach().amax(-1, keepdim=True)
    weights = torch.exp(values - highest) * won
    weights = weights / all_reduce_sum(weights.sum(-1, keepdim=True))
    return Gates(weights, index, won)


def largest(scores: Tensor, count: int) -> Tensor:
    """Find the positions of the ``count`` largest of each row, in any order.

    Args:
        scores: Without a gradient, shape (..., T).
        count: Positions a row, at most T.

    Returns:
        Positions, shape (..., count).
    """
    if 0 < count < scores.shape[-1] and _is_plain(scores):
        # NumPy selects in vector registers, several times as fast as torch's top-k on a CPU.
        with suppress(RuntimeError):  # within a transformation of functions, such as vmap, there are no values to see
            start = scores.shape[-1] - count
            return torch.from_numpy(np.argpartition(scores.numpy(), start, axis=-1)[..., start:])
    return scores.topk(count, dim=-1, sorted=False).indices


def _is_plain(scores: Tensor) -> bool:
    """Whether a tensor's values lie in memory, and nobody follows what becomes of them."""
    followed = torch.compiler.is_compiling() or torch.jit.is_tracing() or is_in_torch_dispatch_mode()
    return not followed and type(scores) is Tensor and scores.device.type == "cpu" and scores.dtype in _IN_NUMPY


def _global_winners(values: Tensor, bottleneck: int) -> tuple[Tensor, Tensor]:
    """Which of this process's candidates win globally (H, M, k), and the largest score of each row (H, M, 1).

    Only the candidates' scores travel. Shorter batches are padded so that every process sends k of them.
    """
    if bottleneck >= ALL_WIN:
        highest = values.detach().new_full((*values.shape[:-1], 1), -torch.inf)
        if values.shape[-1]:
            highest = values.detach().amax(-1, keepdim=True)
        return torch.ones_like(values), all_gather_last(highest).amax(-1, keepdim=True)
    padded = values.detach().new_full((*values.shape[:-1], bottleneck), -torch.inf)
    padded[..., : values.shape[-1]] = values.detach()
    candidates = all_gather_last(padded)  # (H, M, R * k)
    best = candidates.topk(bottleneck, dim=-1)
    winner = torch.zeros_like(candidates).scatter_(-1, best.indices, 1.0)
    winner = winner * candidates.isfinite()
    rank = torch.distributed.get_rank()
    own = winner[..., rank * bottleneck : rank * bottleneck + values.shape[-1]]
    return own, best.values[..., :1]


def cv_squared(total: Tensor, total_of_squares: Tensor, count: Tensor, eps: float = 1e-10) -> Tensor:
    """Squared coefficient of variation, ``var / (mean^2 + eps)``, from sums; any shape."""
    mean = total / count
    return (total_of_squares / count - mean.square()).clamp_min(0) / (mean.square() + eps)


class BottleneckAttention(nn.Module):
    """Top-k cross-attention from priors to all tokens of the batch.

    ``S_i = (priors W_i^Q)(tokens W_i^K)^T / sqrt(D)`` for each head i; the k largest of each row pass a softmax,
    the others are zero; ``target = concat_i(A_i tokens W_i^V) W^O``.

    Args:
        dim: Token width E.
        prior_dim: Prior width D, also the width of a head.
        num_heads: Heads H.
        bottleneck: Tokens k that each prior and head reads.
        competition: Let priors compete for each token: scores are normalised over priors (log-softmax) before
            the top-k, so that priors read different tokens.
        centre: Subtract the mean token of the batch first, which all priors would otherwise share.
        attn_drop: Dropout of the gates in training, after their softmax.
    """

    competition: Final[bool]
    centre: Final[bool]

    def __init__(
        self,
        dim: int,
        prior_dim: int = 32,
        num_heads: int = 8,
        bottleneck: int = 512,
        competition: bool = True,
        centre: bool = True,
        attn_drop: float = 0.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if bottleneck < 1 or num_heads < 1:
            raise ValueError(f"bottleneck and num_heads are at least 1, got {bottleneck=}, {num_heads=}.")
        self.num_heads = num_heads
        self.prior_dim = prior_dim
        self.bottleneck = bottleneck
        self.competition = competition
        self.centre = centre
        self.scale = prior_dim**-0.5
        self.attn_drop = nn.Dropout(attn_drop)
        inner = num_heads * prior_dim
        self.q = nn.Linear(prior_dim, inner, bias=False, device=device, dtype=dtype)
        self.k = nn.Linear(dim, inner, bias=False, device=device, dtype=dtype)
        self.v = nn.Linear(dim, inner, bias=False, device=device, dtype=dtype)
        self.proj = nn.Linear(inner, prior_dim, bias=False, device=device, dtype=dtype)

    @torch.jit.unused
    def forward(self, priors: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Read the winning tokens for every prior.

        Args:
            priors: Shape (M, D).
            tokens: Tokens of the whole batch, shape (T, E).

        Returns:
            What each prior read, shape (M, D), and the balance loss over tokens, a scalar: the sum over heads
            of the squared coefficients of variation of importance (column sums of the gates) and of load
            (number of gates a token has).
        """
        count = torch.full((), tokens.shape[0], device=tokens.device, dtype=torch.float32)
        num_tokens = all_reduce_sum(count)
        queries = self._folded_queries(priors)
        rows = tokens.to(queries.dtype)  # under autocast the products' precision, half; they add up in float32
        gates, mean = self._gates(queries, rows, num_tokens)
        weights = self.attn_drop(gates.weights)
        value_weight = self.v.weight.float().unflatten(0, (self.num_heads, -1)).mT  # (H, E, D)
        # Values are projected after the weighted sum: k tokens a prior are read, the others need no values.
        read = _GatherWeighted.apply(weights, gates.winners, rows)  # (H, M, E)
        read = all_reduce_sum(read @ value_weight)  # (H, M, D)
        if self.centre:
            shared = (mean @ value_weight).unsqueeze(1)
            if self.training and self.attn_drop.p > 0:
                shared = all_reduce_sum(weights.sum(-1, keepdim=True)) * shared  # rows no longer sum to one
            read = read - shared
        target = self.proj(read.transpose(0, 1).flatten(1).to(self.proj.weight.dtype))  # (M, D)
        return target.float(), self._balance(gates, tokens.shape[0], num_tokens)

    def gates(self, priors: Tensor, tokens: Tensor) -> Gates:
        """Choose the winning tokens for every prior, and weigh them.

        Args:
            priors: Shape (M, D).
            tokens: Tokens of the whole batch, shape (T, E).
        """
        count = torch.full((), tokens.shape[0], device=tokens.device, dtype=torch.float32)
        queries = self._folded_queries(priors)
        return self._gates(queries, tokens.to(queries.dtype), all_reduce_sum(count))[0]

    def _gates(self, queries: Tensor, tokens: Tensor, num_tokens: Tensor) -> tuple[Gates, Tensor]:
        """Gates of queries (H, M, E), and the mean token of the global batch, (E,); zeros if it is not centred."""
        scores = (queries.flatten(0, 1) @ tokens.mT).float().unflatten(0, (self.num_heads, -1))  # (H, M, T)
        mean = tokens.new_zeros(tokens.shape[1], dtype=torch.float32)
        if self.centre:
            # Centring the scores and what is read equals centring the tokens, without a copy of them.
            mean = all_reduce_sum(tokens.float().sum(0)) / num_tokens  # (E,)
            scores = scores - (queries.float() @ mean).unsqueeze(-1)
        if self.competition:
            scores = scores.log_softmax(dim=1)
        return bottleneck_gates(scores, self.bottleneck), mean

    def _folded_queries(self, priors: Tensor) -> Tensor:
        """Project priors (M, D) to queries in token space, (H, M, E).

        ``(priors W^Q)(tokens W^K)^T = ((priors W^Q) W^K^T) tokens^T``: with the key weights folded into the few
        queries, no keys are formed.
        """
        query = self.q(priors.to(self.q.weight.dtype)).unflatten(-1, (self.num_heads, -1)).transpose(0, 1)
        return query * self.scale @ self.k.weight.unflatten(0, (self.num_heads, -1))

    def _balance(self, gates: Gates, num_tokens: int, num_tokens_global: Tensor) -> Tensor:
        index = gates.winners.flatten(1)  # (H, M * k)
        empty = gates.weights.new_zeros(self.num_heads, num_tokens)
        importance = empty.scatter_add(1, index, gates.weights.flatten(1))  # (H, T)
        load = empty.scatter_add(1, index, gates.won.flatten(1))
        per_token = torch.stack([importance, load])  # (2, H, T)
        sums = all_reduce_sum(torch.stack([per_token.sum(-1), per_token.square().sum(-1)]))  # (2, 2, H)
        return cv_squared(sums[0], sums[1], num_tokens_global).sum()


class _GatherWeighted(torch.autograd.Function):
    """Weighted sums of chosen rows: weights (H, M, k), index (H, M, k), rows (T, E) to (H, M, E), as weights are.

    Forward reads k rows a prior without forming them as a tensor. The backward pass is two matrix products over
    the scores' shape (H, M, T): scattering (H, M, k, E) gradients row by row takes far longer on a CPU. They are of
    the rows' precision, which may be half.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, index: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(weights, index, rows)
        # Offsets, because rows of no index (a process without images) are refused in the two-dimensional form.
        bags = torch.arange(weights.shape[0] * weights.shape[1], device=index.device)  # (H * M,)
        sums = nn.functional.embedding_bag(
            index.flatten(),
            rows.to(weights.dtype),
            bags * index.shape[-1],
            mode="sum",
            per_sample_weights=weights.flatten(),
        )
        return sums.unflatten(0, weights.shape[:2])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor]:
        weights, index, rows = ctx.saved_tensors
        gradient = gradient.flatten(0, 1).to(rows.dtype)  # (H * M, E)
        index = index.flatten(0, 1)
        per_token = gradient @ rows.mT  # (H * M, T), in half precision under autocast, as a compiled backward pass is
        weights_gradient = per_token.gather(-1, index).view_as(weights).to(weights.dtype)
        dense = per_token.zero_().scatter_(-1, index, weights.flatten(0, 1).to(per_token.dtype))
        return weights_gradient, None, (dense.mT @ gradient.to(dense.dtype)).to(rows.dtype)
