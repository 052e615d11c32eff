"""Find numbers that are among the largest of many, without sorting them."""

import numpy as np

_BLOCK = 16


def large(scores: np.ndarray, count: int) -> np.ndarray:
    """Find `count` entries of each row that are large: mostly the largest.

    Args:
        scores: Shape (b, n).
        count: At least 1 and at most n.

    Returns:
        Their columns, which differ, in no order; shape (b, count).
    """
    batch, total = scores.shape
    blocks = total // _BLOCK
    if blocks <= 2 * count:
        return np.argpartition(scores, total - count, axis=1)[:, total - count :]
    # Block i holds columns i, i + blocks, ...: maxima over the middle axis of this view run along memory. The few
    # columns that are left over are not looked at.
    view = scores[:, : blocks * _BLOCK].reshape(batch, _BLOCK, blocks)
    chosen = np.argpartition(view.max(axis=1), blocks - count, axis=1)[:, blocks - count :]
    inside = view[np.arange(batch)[:, None], :, chosen]  # (b, count, _BLOCK)
    return inside.argmax(axis=2) * blocks + chosen
