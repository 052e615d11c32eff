"""Nearest neighbours among feature vectors, and copies among images."""

from typing import NamedTuple

import torch
from torch import Tensor

from training.data.duplicates import digests, standardised

_CHUNK = 1024
_SAME = 1e-5  # vectors of length 1 that are nearer differ by what the order of additions makes


class Nearest(NamedTuple):
    """The nearest of some vectors, for each query.

    Attributes:
        cosines: The nearest first, shape (Q, k).
        indices: Which, (Q, k) int64.
        distances: Of the same, shape (Q, k); 0 where two are the same but for rounding.
    """

    cosines: Tensor
    indices: Tensor
    distances: Tensor


def nearest(queries: Tensor, vectors: Tensor, count: int = 1, *, exclude_self: bool = False) -> Nearest:
    """Find the nearest vectors of each query, all of length 1.

    Args:
        queries: Shape (Q, F).
        vectors: Shape (N, F).
        count: Number k of neighbours; fewer where there are fewer.
        exclude_self: Leave out vector i for query i, where the queries are the vectors.
    """
    count = min(count, len(vectors) - int(exclude_self))
    cosines, indices, distances = [], [], []
    for start in range(0, len(queries), _CHUNK):
        products = queries[start : start + _CHUNK] @ vectors.T  # (q, N)
        if exclude_self:
            rows = torch.arange(len(products))
            products[rows, start + rows] = -torch.inf
        best = products.topk(count, dim=1)
        cosines.append(best.values)
        indices.append(best.indices)
        # From the cosine, two equal vectors would be 3e-4 apart on some processors: it is 1 but for a last bit.
        apart = queries[start : start + _CHUNK, None] - vectors[best.indices]  # (q, k, F)
        distances.append(apart.norm(dim=-1))
    found = torch.cat(distances)
    return Nearest(torch.cat(cosines), torch.cat(indices), found.masked_fill(found < _SAME, 0.0))


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
