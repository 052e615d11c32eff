"""Examples that say what something is not: their label begins with ``¬``."""

from collections.abc import Sequence
from typing import Final

import numpy as np

NEGATIVE: Final = "¬"


class NegativeLabels:
    """Takes the scores of negative examples off those of the labels that they speak against.

    Scores are linear in the labels under ridge and Hopfield: a score less that of the label's negative examples is the
    score that they would give with -1 for their label.

    Attributes:
        labels: Labels that are no negatives, in their order.
        present: Whether there are negatives.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        """Take all labels."""
        code = {label: index for index, label in enumerate(labels)}
        self.labels = [label for label in labels if not label.startswith(NEGATIVE)]
        self.present = len(self.labels) < len(labels)
        self._positive = np.array([code[label] for label in self.labels], dtype=np.int64)
        pairs = [
            (place, code[NEGATIVE + label]) for place, label in enumerate(self.labels) if NEGATIVE + label in code
        ]
        self._negated = np.array([place for place, _ in pairs], dtype=np.int64)
        self._negative = np.array([index for _, index in pairs], dtype=np.int64)

    def fold(self, scores: np.ndarray) -> np.ndarray:
        """Fold scores of all labels, (n, all labels), to those of `labels`, (n, C)."""
        folded = scores[:, self._positive]
        folded[:, self._negated] -= scores[:, self._negative]
        return folded

    def best(self, scores: np.ndarray) -> np.ndarray:
        """Find the place of the highest score among those of all labels, (n, all labels), negatives' aside; (n,)."""
        if not self.present or not self.labels:
            return scores.argmax(axis=1)
        best: np.ndarray = self._positive[self.fold(scores).argmax(axis=1)]
        return best
