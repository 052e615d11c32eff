"""Ridge regression on one-hot labels in closed form, with its exact leave-one-out error.

``W = (G + lambda I)^-1 Q``; the leave-one-out residual of a stored example is ``(u - W^T x) / (1 - h)`` with the
leverage ``h = x^T (G + lambda I)^-1 x`` (the PRESS statistic; Allen, 1974).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

REGULARISATIONS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


@dataclass(frozen=True)
class Ridge:
    """A solved ridge regression.

    Attributes:
        eigenvalues: Of G, shape (D,).
        basis: Eigenvectors of G as columns, shape (D, D).
        regularisation: lambda.
        weights: W, shape (D, C).
        error: Mean squared leave-one-out error of the examples it was chosen with.
    """

    eigenvalues: np.ndarray
    basis: np.ndarray
    regularisation: float
    weights: np.ndarray
    error: float

    @cached_property
    def inverse(self) -> np.ndarray:
        """``(G + lambda I)^-1``, shape (D, D)."""
        inverse: np.ndarray = (self.basis / (self.eigenvalues + self.regularisation)) @ self.basis.T
        return inverse

    def whiten(self, features: np.ndarray) -> np.ndarray:
        """Map features (n, D) so that products of two rows are ``x^T (G + lambda I)^-1 y``."""
        return (features @ self.basis) / np.sqrt(self.eigenvalues + self.regularisation)

    def leave_one_out(self, features: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Predict stored examples (n, D) with targets (n, C) as if each had never been stored; shape (n, C)."""
        leverage = np.square(self.whiten(features)).sum(axis=1, keepdims=True)
        return targets - (targets - features @ self.weights) / (1.0 - leverage)

    @property
    def effective_dimension(self) -> float:
        """``tr G (G + lambda I)^-1``."""
        return float((self.eigenvalues / (self.eigenvalues + self.regularisation)).sum())


def solve(gram: np.ndarray, class_sums: np.ndarray, features: np.ndarray, targets: np.ndarray) -> Ridge:
    """Solve for the regularisation with the smallest leave-one-out error.

    Args:
        gram: G, shape (D, D).
        class_sums: Q, shape (D, C).
        features: Stored examples that judge, shape (n, D).
        targets: Their one-hot labels, shape (n, C).

    Returns:
        The solution; the larger regularisation where two are equally good.
    """
    eigenvalues, basis = np.linalg.eigh(gram)
    eigenvalues = np.maximum(eigenvalues, 0.0)  # rounding leaves small negative ones
    rotated_sums = basis.T @ class_sums
    rotated = features @ basis
    squared = np.square(rotated)
    errors = {}
    for regularisation in reversed(REGULARISATIONS):
        inverse = 1.0 / (eigenvalues + regularisation)
        residual = targets - rotated @ (inverse[:, None] * rotated_sums)
        residual /= 1.0 - (squared @ inverse)[:, None]
        errors[regularisation] = float(np.square(residual).sum(axis=1).mean())
    best = min(errors, key=lambda regularisation: errors[regularisation])
    weights = basis @ (rotated_sums / (eigenvalues + best)[:, None])
    return Ridge(eigenvalues, basis, best, weights, errors[best])
