"""Read labels out by ridge regression."""

import numpy as np

from ait_lite.class_memory.features import SCALE, FeatureMap
from ait_lite.class_memory.readouts.regression import Ridge


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
