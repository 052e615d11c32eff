"""What every readout of a memory can do."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np


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


def one_hot(labels: Sequence[str], names: Sequence[str], dtype: type = np.float64) -> np.ndarray:
    """Encode labels, shape (n, C)."""
    code = {name: index for index, name in enumerate(names)}
    return np.eye(len(names), dtype=dtype)[[code[label] for label in labels]]
