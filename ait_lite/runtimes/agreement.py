"""Compare what a graph answers with what the model it was made of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from ait_lite.runtimes.answering import Answering
from ait_lite.runtimes.graph import Graph, Outputs

SIZES: Final = (1, 7, 16)  # of the batches that are tried
FEW: Final = 16  # images that are run at all of them
SAME_LOGIT: Final = 1e-3  # float32 in another order of sums
SAME_LABELS: Final = 0.99  # least share of images of which the same is told
SAME_PROBABILITY: Final = 0.01  # most that the probability may differ on average

_EXCLUSIVE: Final = Answering()


@dataclass(frozen=True)
class Agreement:
    """How far a graph's answers are from the eager float32 model's.

    Attributes:
        images: How many were compared; each counts once, however often it was run.
        largest_difference: Largest absolute difference of a logit.
        features_difference: The same of a feature, as a share of the largest one (of 1, if that is smaller).
        same_label: Share of images with the same best class; of a model that tells any number of classes, with all
            the same.
        probability_difference: Mean absolute difference of the probability of the eager model's best class; of a model
            that tells any number of classes, of the one that differs most.
    """

    images: int
    largest_difference: float
    features_difference: float
    same_label: float
    probability_difference: float

    def enough(self, precision: str) -> bool:
        """Judge whether it may answer in place of the eager model; NaN never may."""
        if precision == "fp32":
            return self.largest_difference <= SAME_LOGIT and self.features_difference <= SAME_LOGIT
        return self.same_label >= SAME_LABELS and self.probability_difference <= SAME_PROBABILITY

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-ready values."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.images} images: logits differ by at most {self.largest_difference:.1e}, labels equal for "
            f"{self.same_label:.2%}, their probability differs by {self.probability_difference:.1e} on average"
        )


def compare(expected: Outputs, answers: Outputs, answering: Answering = _EXCLUSIVE) -> Agreement:
    """Compare the answers to the same images.

    Args:
        expected: Of the eager model.
        answers: What should be the same.
        answering: What is made of logits.

    Raises:
        ValueError: The answers have another shape.
    """
    if expected.logits.shape != answers.logits.shape:
        raise ValueError(f"logits of shape {answers.logits.shape}, the model's {expected.logits.shape}")
    return _compared(expected, [(slice(0, len(expected.logits)), answers)], answering)


def compare_graph(
    graph: Graph, pixels: np.ndarray, expected: Outputs, precision: str, answering: Answering = _EXCLUSIVE
) -> Agreement:
    """Run images in batches of several sizes, and compare.

    Equality to rounding shows on a few images; how many labels change shows on all of them only. An image that is run
    several times has the same label if it has it every time.

    Args:
        graph: What is run.
        pixels: Normalised, float32 (N, C, H, W).
        expected: Of the eager model, for these.
        precision: That of the graph; as many images are compared as it takes.
        answering: What is made of logits.

    Raises:
        ValueError: The answers have another shape.
    """
    few = min(FEW, len(pixels))
    parts = [slice(start, min(start + size, few)) for size in SIZES for start in range(0, few, size)]
    if precision != "fp32":
        parts += [slice(start, min(start + FEW, len(pixels))) for start in range(few, len(pixels), FEW)]
    return _compared(expected, [(part, graph(pixels[part])) for part in parts], answering)


def _compared(expected: Outputs, runs: Sequence[tuple[slice, Outputs]], answering: Answering) -> Agreement:
    """Compare what was run of the images, by their rows."""
    count = len(expected.logits)
    seen, same, unsure = np.zeros(count, bool), np.ones(count, bool), np.zeros(count)
    largest, features = np.float64(0.0), np.float64(0.0)
    for rows, answers in runs:
        wanted = expected.logits[rows]
        if wanted.shape != answers.logits.shape:
            raise ValueError(f"logits of shape {answers.logits.shape}, the model's {wanted.shape}")
        seen[rows] = True
        same[rows] &= (answering.told(wanted) == answering.told(answers.logits)).all(-1)
        differences = np.abs(answering.probabilities(wanted) - answering.probabilities(answers.logits))
        if answering.thresholds is None:
            differences = differences[np.arange(len(wanted)), wanted.argmax(-1)][:, None]
        # Unlike `max`, this hands NaN on.
        unsure[rows] = np.maximum(unsure[rows], differences.max(-1))
        largest = np.maximum(largest, np.abs(wanted - answers.logits).max())
        if expected.features is not None:
            features = np.maximum(features, _features_difference(expected.features[rows], answers.features))
    scale = 1.0 if expected.features is None else max(1.0, float(np.abs(expected.features).max()))
    return Agreement(
        images=int(seen.sum()),
        largest_difference=float(largest),
        features_difference=float(features) / scale,
        same_label=float(same[seen].mean()),
        probability_difference=float(unsure[seen].mean()),
    )


def _features_difference(expected: np.ndarray, features: np.ndarray | None) -> float:
    if features is None or features.shape != expected.shape:
        raise ValueError("no features, or of another shape")
    return float(np.abs(expected - features).max())
