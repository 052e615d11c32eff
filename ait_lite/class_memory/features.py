"""Integer feature vectors, so that sums over examples do not depend on their order.

A float64 holds integers below 2^53 exactly. A key has integer entries of at most 2^14, so that sums of products of
entries stay exact for 2^25 examples, in any order and with any matrix product.
"""

from typing import Protocol

import numpy as np

SCALE = 2.0**14


def quantise(vectors: np.ndarray, centre: np.ndarray | None = None) -> np.ndarray:
    """Normalise vectors to unit length and round them to multiples of 2^-14.

    Args:
        vectors: Feature vectors, shape (n, d).
        centre: Vector subtracted first, shape (d,).

    Returns:
        Integer-valued float64, shape (n, d), with rows of length about 2^14.

    Raises:
        ValueError: If a vector is not finite, or has length zero once centred.
    """
    vectors = np.asarray(vectors, dtype=np.float64)
    if centre is not None:
        vectors = vectors - centre
    # Dividing by the largest entry first keeps squares of very large or small entries in range.
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=0.0)
    if not np.isfinite(largest).all() or not (largest > 0).all():
        raise ValueError("A key must be finite and must differ from zero (once centred).")
    vectors = vectors / largest
    return np.rint(vectors * (SCALE / np.sqrt(np.square(vectors).sum(axis=1, keepdims=True))))


class FeatureMap(Protocol):
    """Map integer keys (n, d) to integer features (n, D)."""

    def __call__(self, keys: np.ndarray) -> np.ndarray:
        """Compute the features of keys."""


class RandomFeatures:
    """Random ReLU features ``sqrt(2 / D) relu(x R)`` of integer keys, rounded to integers themselves.

    The entries of ``R`` are centred binomials of 64 coin flips, near normal with standard deviation 4. They are drawn
    from the raw bits of PCG64, which NumPy keeps from version to version, and are integers: ``x R`` is exact, and
    features are the same on every machine and in every batch.

    Args:
        dim: Width d of a key.
        width: Number of features D.
        seed: Seed of the projection.
    """

    def __init__(self, dim: int, width: int, seed: int) -> None:
        self.width = width
        raw = np.random.PCG64(seed).random_raw(dim * width).astype("<u8").reshape(dim, width)
        projection = np.empty((dim, width))
        for row, bits in enumerate(raw):  # a row at a time: the bits unpacked take 64 bytes an entry
            projection[row] = np.unpackbits(bits.view(np.uint8)).reshape(width, 64).sum(axis=1, dtype=np.int64) - 32
        self._projection = projection
        self._scale = np.sqrt(2.0 / width) / 4.0

    def __call__(self, keys: np.ndarray) -> np.ndarray:
        """Compute features (n, D) of integer keys (n, d); integer-valued float64 at scale 2^14."""
        return np.rint(np.maximum(keys @ self._projection, 0.0) * self._scale)
