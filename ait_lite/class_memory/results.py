"""What a memory of classes answers."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Evidence(NamedTuple):
    """One stored example near a query.

    Attributes:
        id: Identifier of the example.
        label: Its label.
        similarity: Cosine of its key with the query.
        weight: What it adds to the score of its own label under the readout.
    """

    id: str
    label: str
    similarity: float
    weight: float


@dataclass(frozen=True)
class Recall:
    """The answer to one query.

    Attributes:
        label: The label with the highest score, less that of its negative examples; empty where all are negative.
        labels: All labels, sorted; those of negative examples begin with ``¬``.
        scores: Score of each label, shape (C,). Ridge: regression on one-hot labels; Hopfield and associative: shares
            that sum to one; prototype: cosines.
        p_value: Share of the stored examples, the query counted, whose nearest other key is at least as far.
        resolution: The smallest p-value that this many examples can give, ``1 / (n + 1)``.
        unknown: True where the p-value is at most the memory's ``unknown_level``; never true while the resolution is
            above that level.
        evidence: The nearest stored examples, nearest first.
        strongest: Identifier of the example that adds most to ``label``, among the five nearest, however many the
            evidence names; None if none of them has it, or there are negative examples.
        label_without_strongest: The label that wins once that example is forgotten; None if nothing would be left, or
            there are negative examples.
    """

    label: str
    labels: tuple[str, ...]
    scores: np.ndarray
    p_value: float
    resolution: float
    unknown: bool
    evidence: tuple[Evidence, ...]
    strongest: str | None
    label_without_strongest: str | None


@dataclass(frozen=True)
class Fullness:
    """How much of its capacity a memory uses, and what it still tells apart.

    Attributes:
        examples: Number of stored examples.
        width: Number of features d that the ridge readout uses.
        effective_dimension: ``tr G (G + lambda I)^-1``, between 0 and ``width``.
        regularisation: The chosen lambda.
        random_features: Number of random ReLU features in use; 0 for the keys themselves.
        accuracy: Leave-one-out accuracy over all examples.
        margin_snr: Per label, squared mean over variance of the leave-one-out margin (score of the true label less
            the best other score); signed by the mean, infinite where the variance is zero.
    """

    examples: int
    width: int
    effective_dimension: float
    regularisation: float
    random_features: int
    accuracy: float
    margin_snr: dict[str, float]
