"""Multi-head attention between two sets, dense or to the k largest scores."""

from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ait.self_attention import products_are_faster


class SetAttention(nn.Module):
    """Attend from the rows of one set to those of another (arXiv 1706.03762, section 3.2.2).

    ``concat_i(softmax(Q W_i^Q (Y W_i^K)^T / sqrt(d)) Y W_i^V) W^O``, where with ``top_k`` all but the k largest scores
    of each row are left out of the softmax (top-k softmax of arXiv 2103.01197).

    Args:
        dim: Width of the rows that attend, and of the result.
        num_heads: Heads H.
        source_dim: Width of the rows attended to; None is ``dim``.
        head_dim: Width d of a head; None is ``dim / num_heads``.
        top_k: Rows that each row reads; None reads all.
        bias: Bias in the query, key and value projections.

    Raises:
        ValueError: If the width cannot be split over the heads, or ``top_k`` is not positive.
    """

    top_k: Final[int | None]

    def __init__(
        self,
        dim: int,
        num_heads: int,
        source_dim: int | None = None,
        head_dim: int | None = None,
        top_k: int | None = None,
        bias: bool = True,
    ) -> None:
        super().__init__()
        if head_dim is None and dim % num_heads:
            raise ValueError(f"num_heads must divide dim, got {dim=} and {num_heads=}.")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k is at least 1, got {top_k}.")
        inner = num_heads * (head_dim or dim // num_heads)
        self.num_heads = num_heads
        self.top_k = top_k
        self.q = nn.Linear(dim, inner, bias=bias)
        self.kv = nn.Linear(source_dim or dim, 2 * inner, bias=bias)
        self.proj = nn.Linear(inner, dim)

    def forward(self, rows: Tensor, source: Tensor) -> Tensor:
        """Read a set.

        Args:
            rows: What attends, shape (B, M, E).
            source: What is attended to, shape (B, N, F).

        Returns:
            What each row read, shape (B, M, E).
        """
        query = self.q(rows).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (B, H, M, d)
        key, value = self.kv(source).unflatten(-1, (2, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (B, H, N, d)
        if self.top_k is not None and self.top_k < source.shape[1]:
            read = keep_largest(_scores(query, key), self.top_k).softmax(-1) @ value
        elif products_are_faster(query.device, query.dtype, *key.shape[-2:]):
            read = _scores(query, key).softmax(-1) @ value
        else:
            read = F.scaled_dot_product_attention(query, key, value)
        return self.proj(read.transpose(1, 2).flatten(2))


def _scores(query: Tensor, key: Tensor) -> Tensor:
    """Scaled products of queries (B, H, M, d) and keys (B, H, N, d), shape (B, H, M, N)."""
    return query @ key.mT * key.shape[-1] ** -0.5


def keep_largest(scores: Tensor, count: int) -> Tensor:
    """Set all but the ``count`` largest of each row to minus infinity; shape (..., N) stays."""
    largest = scores.topk(count, dim=-1)
    return torch.full_like(scores, -torch.inf).scatter(-1, largest.indices, largest.values)
