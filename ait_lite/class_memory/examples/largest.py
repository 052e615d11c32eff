"""Bound the largest of many numbers from below, without sorting them."""

import numpy as np

_BLOCK = 16


def floors(scores: np.ndarray, count: int) -> np.ndarray:
    """Find numbers that at least `count` entries of each row reach, and mostly few more.

    Args:
        scores: Shape (b, n).
        count: At most n.

    Returns:
        Shape (b,).
    """
    batch, total = scores.shape
    blocks = total // _BLOCK
    if blocks > 2 * count:
        # Each of the `count` blocks with the largest maxima has one that reaches the least of these. Block i holds
        # columns i, i + blocks, ...: maxima over the middle axis of this view run along memory.
        scores = scores[:, : blocks * _BLOCK].reshape(batch, _BLOCK, blocks).max(axis=1)
        total = blocks
    return np.partition(scores, total - count, axis=1)[:, total - count]
