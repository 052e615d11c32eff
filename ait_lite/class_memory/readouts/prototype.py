"""Read labels out by the means of their examples."""

import numpy as np

from ait_lite.class_memory.features import SCALE


class PrototypeReadout:
    """Cosine of the query with each class mean.

    Args:
        class_sums: Sums of integer keys by label, shape (d, C).
    """

    compares_all = False

    def __init__(self, class_sums: np.ndarray) -> None:
        self._sums = class_sums
        self._lengths = np.maximum(np.linalg.norm(class_sums, axis=0), 1.0)  # integers: no shorter unless zero

    def scores(self, queries: np.ndarray, cosines: np.ndarray | None) -> np.ndarray:
        return (queries @ self._sums) / (self._lengths * SCALE)

    def weights(
        self, queries: np.ndarray, cosines: np.ndarray | None, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        return np.einsum("bd,bkd->bk", queries, keys) / (self._lengths[codes] * SCALE)

    def without(
        self, scores: np.ndarray, weights: np.ndarray, queries: np.ndarray, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        left = scores.copy()
        sums = self._sums[:, codes].T - keys  # (b, d)
        lengths = np.linalg.norm(sums, axis=1)
        cosines = np.einsum("bd,bd->b", queries, sums) / (np.maximum(lengths, 1.0) * SCALE)
        left[np.arange(len(codes)), codes] = cosines
        return left

    def leave_one_out(
        self, keys: np.ndarray, cosines: np.ndarray | None, rows: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        return self.without(self.scores(keys, None), np.zeros(len(codes)), keys, keys, codes)
