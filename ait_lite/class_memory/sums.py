"""Sums over examples that forget exactly."""

from collections.abc import Sequence

import numpy as np

from ait_lite.class_memory.features import FeatureMap


class ExampleSums:
    """Keep ``G = sum x x^T`` and ``Q = sum x u^T`` of integer features, exact under adding and removing.

    Args:
        width: Width D of a feature vector.
        features: Maps integer keys (n, d) to integer features (n, D).
    """

    def __init__(self, width: int, features: FeatureMap) -> None:
        self.features = features
        self.gram = np.zeros((width, width))
        self._classes: dict[str, np.ndarray] = {}  # label -> sum of its features, shape (D,)
        self._counts: dict[str, int] = {}

    def add(self, keys: np.ndarray, labels: Sequence[str]) -> None:
        """Add examples with integer keys (n, d)."""
        features = self.features(keys)
        self.gram += features.T @ features
        for label in dict.fromkeys(labels):
            self._change(label, features[[other == label for other in labels]], 1)

    def remove(self, keys: np.ndarray, labels: Sequence[str]) -> None:
        """Remove examples that were added before, with the same keys (n, d)."""
        features = self.features(keys)
        self.gram -= features.T @ features
        for label in dict.fromkeys(labels):
            self._change(label, features[[other == label for other in labels]], -1)

    def relabel(self, key: np.ndarray, old: str, new: str) -> None:
        """Move one example, key (d,), from one label to another."""
        features = self.features(key[None])
        self._change(old, features, -1)
        self._change(new, features, 1)

    def copy(self) -> "ExampleSums":
        """Copy the sums; neither changes with the other."""
        copied = ExampleSums(0, self.features)
        copied.gram = self.gram.copy()
        copied._classes, copied._counts = dict(self._classes), dict(self._counts)
        return copied

    def _change(self, label: str, features: np.ndarray, sign: int) -> None:
        total = self._classes.get(label)
        self._classes[label] = sign * features.sum(axis=0) + (0.0 if total is None else total)
        self._counts[label] = self._counts.get(label, 0) + sign * len(features)
        if not self._counts[label]:
            del self._classes[label], self._counts[label]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels that have examples, sorted."""
        return tuple(sorted(self._classes))

    @property
    def counts(self) -> dict[str, int]:
        """Number of examples per label, by sorted label."""
        return {label: self._counts[label] for label in self.labels}

    def class_sums(self) -> np.ndarray:
        """Stack the sums ``Q`` of the sorted labels, shape (D, C)."""
        return np.stack([self._classes[label] for label in self.labels], axis=1)

    def equals(self, other: "ExampleSums") -> bool:
        """Compare bit for bit."""
        return (
            np.array_equal(self.gram, other.gram)
            and self.counts == other.counts
            and all(np.array_equal(total, other._classes[label]) for label, total in self._classes.items())
        )
