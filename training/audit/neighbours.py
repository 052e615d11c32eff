"""Nearest neighbours among feature vectors, and copies among images."""

from typing import NamedTuple

import torch
from torch import Tensor

from training.data.duplicates import digests, standardised

_CHUNK = 1024


class Nearest(NamedTuple):
    """The nearest of some vectors, for each query.

    Attributes:
        cosines: The nearest first, shape (Q, k).
        indices: Which, (Q, k) int64.
    """

    cosines: Tensor
    indices: Tensor

    @property
    def distances(self) -> Tensor:
        """Distance of each query to its nearest, vectors being of length 1, shape (Q,)."""
        return (2 - 2 * self.cosines[:, 0]).clamp_min(0).sqrt()


def nearest(queries: Tensor, vectors: Tensor, count: int = 1, *, exclude_self: bool = False) -> Nearest:
    """Find the nearest vectors of each query, all of length 1.

    Args:
        queries: Shape (Q, F).
        vectors: Shape (N, F).
        count: Number k of neighbours; fewer where there are fewer.
        exclude_self: Leave out vector i for query i, where the queries are the vectors.
    """
    count = min(count, len(vectors) - int(exclude_self))
    cosines, indices = [], []
    for start in range(0, len(queries), _CHUNK):
        products = queries[start : start + _CHUNK] @ vectors.T  # (q, N)
        if exclude_self:
            rows = torch.arange(len(products))
            products[rows, start + rows] = -torch.inf
        best = products.topk(count, dim=1)
        cosines.append(best.values)
        indices.append(best.indices)
    return Nearest(torch.cat(cosines), torch.cat(indices))


def exact_copies(signatures: Tensor) -> list[list[int]]:
    """Group images whose files are the same, byte for byte.

    Args:
        signatures: (N, S) uint8.

    Returns:
        Positions of each group of two or more.
    """
    groups: dict[bytes, list[int]] = {}
    for index, digest in enumerate(digests(signatures)):
        groups.setdefault(digest, []).append(index)
    return [members for members in groups.values() if len(members) > 1]


def near_copies(signatures: Tensor, least: float) -> list[tuple[int, int, float]]:
    """Find pairs of images whose thumbnails show the same.

    Args:
        signatures: (N, S) uint8.
        least: Correlation of two thumbnails from which on they show the same.

    Returns:
        (first, second, correlation), the first before the second.
    """
    thumbnails, visible = standardised(signatures)
    thumbnails = thumbnails * visible[:, None]  # what shows nothing is like nothing
    pairs: list[tuple[int, int, float]] = []
    for start in range(0, len(thumbnails), _CHUNK):
        alike = thumbnails[start : start + _CHUNK] @ thumbnails[start:].T
        for row, column in (alike >= least).nonzero().tolist():
            if column > row:
                pairs.append((start + row, start + column, float(alike[row, column])))
    return pairs
