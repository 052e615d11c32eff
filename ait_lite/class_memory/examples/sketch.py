"""Bound the products of keys with queries at a fraction of their cost, to compare exactly only where it matters.

Feature vectors differ mostly in few directions. With the parts of a query and of a key along these, ``q_r`` and
``k_r``, and the lengths of what is left of them, ``|q_s|`` and ``|k_s|``, the inequality of Cauchy and Schwarz gives
``q . k <= q_r . k_r + |q_s| |k_s|``. The right side is a product too: of vectors with one entry more than directions.
"""

import numpy as np

from ait_lite.class_memory.examples.columns import columns, widened

DIRECTIONS = 48
ROUNDING = 1e-5  # products of vectors of unit length in float32 are off by less
_ITERATIONS = 2
_ROWS = 1024  # that are projected at a time


class Sketch:
    """The parts of a growing number of keys along few directions.

    Args:
        sample: Keys of unit length that choose the directions, shape (m, d).
    """

    def __init__(self, sample: np.ndarray) -> None:
        # Subspace iteration finds the leading directions well enough, in less time than all eigenvectors; any others
        # would be right too, and only bound less well.
        start = np.random.default_rng(0).standard_normal((sample.shape[1], DIRECTIONS))
        basis = np.linalg.qr(start)[0]
        for _ in range(_ITERATIONS):
            basis = np.linalg.qr(sample.T @ (sample @ basis))[0]
        self._basis = basis  # (d, r), orthonormal
        self._columns = columns(DIRECTIONS + 1, 0)  # one a key
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, keys: np.ndarray) -> None:
        """Append keys of unit length, shape (n, d)."""
        end = self._count + len(keys)
        if end > self._columns.shape[1]:
            self._columns = widened(self._columns, max(2 * self._columns.shape[1], end))
        for start in range(0, len(keys), _ROWS):
            part = self._parts(keys[start : start + _ROWS])
            self._columns[:, self._count : self._count + len(part)] = part.T
            self._count += len(part)

    def bounds(self, queries: np.ndarray) -> np.ndarray:
        """Bound the products of queries of unit length (b, d) with all keys from above, within `ROUNDING`.

        Returns:
            Float32, shape (b, n).
        """
        parts = self._parts(queries)
        known = self._columns[:, : self._count]
        return (parts[0] @ known)[None] if len(parts) == 1 else parts @ known

    def _parts(self, vectors: np.ndarray) -> np.ndarray:
        """Split vectors (n, d) into their parts along the directions and the length of what is left, (n, r + 1)."""
        parts = np.empty((len(vectors), DIRECTIONS + 1))
        np.matmul(vectors, self._basis, out=parts[:, :-1])
        left = np.square(vectors).sum(axis=1) - np.square(parts[:, :-1]).sum(axis=1)
        parts[:, -1] = np.sqrt(np.maximum(left, 0.0))
        return parts.astype(np.float32)
