"""Four readouts of one memory of classes: ridge regression, Hopfield retrieval in two forms, and class means.

Each says how it scores a query, what single examples add to the score of their label, what the scores would be had
one example never been stored, and how it scores examples as if each had not.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ait_lite.class_memory.features import SCALE, FeatureMap
from ait_lite.class_memory.ridge import Ridge


class Readout(Protocol):
    """One way to read labels out of stored examples. Shapes: b queries, k examples each, C labels.

    Attributes:
        compares_all: Whether it needs the cosines of the queries with all examples (b, n); else they may be None.
    """

    compares_all: bool

    def scores(self, queries: np.ndarray, cosines: np.ndarray | None) -> np.ndarray:
        """Score integer queries (b, d); shape (b, C)."""

    def weights(
        self, queries: np.ndarray, cosines: np.ndarray | None, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        """Measure what examples, integer keys (b, k, d) with label codes (b, k), add to their label's score (b, k)."""

    def without(
        self, scores: np.ndarray, weights: np.ndarray, queries: np.ndarray, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        """Score again as if one example a query, keys (b, d), codes (b,), weights (b,), had never been stored."""

    def leave_one_out(
        self, keys: np.ndarray, cosines: np.ndarray | None, rows: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        """Score stored examples, keys (b, d), rows (b,), codes (b,), as if each had never been stored; (b, C)."""


class RidgeReadout:
    """Score by ridge regression, ``W^T x`` with ``W = (G + lambda I)^-1 Q``.

    The score of a label is the sum of its examples' weights ``x^T (G + lambda I)^-1 x_i``.

    Args:
        ridge: The solved regression.
        features: Features (n, D) of integer keys (n, d).
    """

    compares_all = False

    def __init__(self, ridge: Ridge, features: FeatureMap) -> None:
        self.ridge = ridge
        self._features = features

    def scores(self, queries: np.ndarray, cosines: np.ndarray | None) -> np.ndarray:
        return (self._features(queries) / SCALE) @ self.ridge.weights

    def weights(
        self, queries: np.ndarray, cosines: np.ndarray | None, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        batch, count, dim = keys.shape
        mapped = (self._features(queries) / SCALE**2) @ self.ridge.inverse  # (b, D), (G + lambda I)^-1 x
        stored = self._features(keys.reshape(-1, dim)).reshape(batch, count, -1)
        # Not a matrix product, which may round equal rows differently: copies of an example weigh the same.
        return np.einsum("bd,bkd->bk", mapped, stored)

    def without(
        self, scores: np.ndarray, weights: np.ndarray, queries: np.ndarray, keys: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        features = self._features(keys) / SCALE
        residual = -(features @ self.ridge.weights)  # (b, C), u - W^T x
        residual[np.arange(len(codes)), codes] += 1.0
        leverage = ((features @ self.ridge.inverse) * features).sum(axis=1)
        return scores - (weights / (1.0 - leverage))[:, None] * residual

    def leave_one_out(
        self, keys: np.ndarray, cosines: np.ndarray | None, rows: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        targets = np.eye(self.ridge.weights.shape[1])[codes]
        return self.ridge.leave_one_out(self._features(keys) / SCALE, targets)


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
        scores = (recalled @ self._one_hot).astype(np.float64)
        return scores / scores.sum(axis=1, keepdims=True)

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
        return self.scores(keys, others)


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

    def leave_one_out(
        self, keys: np.ndarray, cosines: np.ndarray | None, rows: np.ndarray, codes: np.ndarray
    ) -> np.ndarray:
        assert cosines is not None
        if cosines.shape[1] == 1:
            return np.zeros((1, self._one_hot.shape[1]))  # there is nothing else to recall
        others = cosines.copy()
        others[np.arange(len(rows)), rows] = -np.inf
        return self._means(others, self._counts - self._one_hot[rows])[0]


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


def one_hot(labels: Sequence[str], names: Sequence[str], dtype: type = np.float64) -> np.ndarray:
    """Encode labels, shape (n, C)."""
    code = {name: index for index, name in enumerate(names)}
    return np.eye(len(names), dtype=dtype)[[code[label] for label in labels]]
