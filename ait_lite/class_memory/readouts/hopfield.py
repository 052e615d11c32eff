"""Read labels out by Hopfield retrieval: of all examples alike, or of all labels alike."""

import numpy as np

from ait_lite.class_memory.features import SCALE


class HopfieldReadout:
    """``softmax(beta q K^T) U`` over all stored keys.

    Args:
        one_hot: Labels U of all examples, float32, shape (n, C).
        beta: Inverse temperature.
    """

    compares_all = True

    def __init__(self, one_hot: np.ndarray, beta: float) -> None:
        self._one_hot = one_hot
        self._beta = beta

    def _recalled(self, cosines: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Weights (b, n) up to a factor per query, and the log of their sum with it (b,)."""
        assert cosines is not None
        largest = cosines.max(axis=1, keepdims=True)
        recalled = np.exp(self._beta * (cosines - largest))
        return recalled, self._beta * largest[:, 0] + np.log(recalled.sum(axis=1, dtype=np.float64))

    def scores(self, queries: np.ndarray, cosines: np.ndarray | None) -> np.ndarray:
        recalled, _ = self._recalled(cosines)
        return _shares(recalled @ self._one_hot)

    def weights(
        self, queries: np.ndarray, cosines: np.ndarray | None, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        _, normaliser = self._recalled(cosines)
        exact = np.einsum("bd,bkd->bk", queries, keys) / SCALE**2
        return np.exp(self._beta * exact - normaliser[:, None])

    def without(
        self, scores: np.ndarray, weights: np.ndarray, queries: np.ndarray, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        left = scores.copy()
        left[np.arange(len(codes)), codes] -= weights
        return left / np.maximum(1.0 - weights, np.finfo(np.float64).tiny)[:, None]

    def leave_one_out(
        self, keys: np.ndarray, cosines: np.ndarray | None, rows: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        assert cosines is not None
        if cosines.shape[1] == 1:
            return np.zeros((1, self._one_hot.shape[1]))  # there is nothing else to recall
        others = cosines.copy()
        others[np.arange(len(rows)), rows] = -np.inf
        return self._left_out(others, rows)

    def _left_out(self, cosines: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Score by cosines (b, n) that are -inf with the examples that are left out, one a query, rows (b,)."""
        recalled, _ = self._recalled(cosines)
        return _shares(recalled @ self._one_hot)


class AssociativeReadout(HopfieldReadout):
    """Hopfield retrieval where every label has the same share, however many examples it has.

    A label's score is the mean of ``exp(beta q k)`` over its keys, divided by the sum of all labels' means: what
    `ait.memory.associative_head.AssociativeHead` answers where the keys are its priors.

    Args:
        one_hot: Labels U of all examples, float32, shape (n, C).
        beta: Inverse temperature.
    """

    def __init__(self, one_hot: np.ndarray, beta: float) -> None:
        super().__init__(one_hot, beta)
        self._counts = one_hot.sum(axis=0, dtype=np.float64)

    def _means(self, cosines: np.ndarray | None, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores (b, C), and the log of what they were divided by (b,)."""
        recalled, normaliser = self._recalled(cosines)
        means = (recalled @ self._one_hot).astype(np.float64) / np.maximum(counts, 1.0)
        total = means.sum(axis=1, keepdims=True)
        # The normaliser is of the sum over examples: what is added is of their means.
        return means / total, normaliser + np.log(total[:, 0]) - np.log(recalled.sum(axis=1, dtype=np.float64))

    def scores(self, queries: np.ndarray, cosines: np.ndarray | None) -> np.ndarray:
        return self._means(cosines, self._counts)[0]

    def weights(
        self, queries: np.ndarray, cosines: np.ndarray | None, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        _, normaliser = self._means(cosines, self._counts)
        exact = np.einsum("bd,bkd->bk", queries, keys) / SCALE**2
        return np.exp(self._beta * exact - normaliser[:, None]) / self._counts[codes]

    def without(
        self, scores: np.ndarray, weights: np.ndarray, queries: np.ndarray, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        left, chosen = scores.copy(), (np.arange(len(codes)), codes)
        counts = self._counts[codes]
        # The mean of the label's other examples; a label without any has no score.
        left[chosen] = (scores[chosen] - weights).clip(0.0) * counts / np.maximum(counts - 1.0, 1.0)
        return left / np.maximum(left.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)

    def _left_out(self, cosines: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self._means(cosines, self._counts - self._one_hot[rows])[0]


def _shares(sums: np.ndarray) -> np.ndarray:
    """Divide sums (b, C) by their total, float64."""
    sums = sums.astype(np.float64)
    shares: np.ndarray = sums / sums.sum(axis=1, keepdims=True)
    return shares
