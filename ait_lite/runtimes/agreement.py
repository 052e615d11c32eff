"""Compare what a graph answers with what the model it was made of answers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from ait_lite.runtimes.graph import Graph, Outputs

SIZES: Final = (1, 7, 16)  # of the batches that are tried
FEW: Final = 16  # images that are run at all of them
SAME_LOGIT: Final = 1e-3  # float32 in another order of sums
SAME_LABELS: Final = 0.99  # least share of images whose best class is the same
SAME_PROBABILITY: Final = 0.01  # most that the best class's probability may differ on average


@dataclass(frozen=True)
class Agreement:
    """How far a graph's answers are from the eager float32 model's.

    Attributes:
        images: How many were compared.
        largest_difference: Largest absolute difference of a logit.
        features_difference: The same of a feature, as a share of the largest one (of 1, if that is smaller).
        same_label: Share of images with the same best class.
        probability_difference: Mean absolute difference of the probability of the eager model's best class.
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
            f"{self.images} images: logits differ by at most {self.largest_difference:.1e}, best class equal for "
            f"{self.same_label:.2%}, its probability differs by {self.probability_difference:.1e} on average"
        )


def compare(expected: Outputs, answers: Outputs, temperature: float | None = None) -> Agreement:
    """Compare the answers to the same images.

    Args:
        expected: Of the eager model.
        answers: What should be the same.
        temperature: What logits are divided by for probabilities; None divides them by nothing.

    Raises:
        ValueError: The answers have another shape.
    """
    if expected.logits.shape != answers.logits.shape:
        raise ValueError(f"logits of shape {answers.logits.shape}, the model's {expected.logits.shape}")
    features = 0.0
    if expected.features is not None:
        if answers.features is None or answers.features.shape != expected.features.shape:
            raise ValueError("no features, or of another shape")
        scale = max(1.0, float(np.abs(expected.features).max()))
        features = float(np.abs(expected.features - answers.features).max()) / scale
    best = expected.logits.argmax(-1)
    rows = np.arange(len(best))
    sure, unsure = (_softmax(each.logits, temperature)[rows, best] for each in (expected, answers))
    return Agreement(
        images=len(best),
        largest_difference=float(np.abs(expected.logits - answers.logits).max()),
        features_difference=features,
        same_label=float((answers.logits.argmax(-1) == best).mean()),
        probability_difference=float(np.abs(sure - unsure).mean()),
    )


def compare_graph(
    graph: Graph, pixels: np.ndarray, expected: Outputs, precision: str, temperature: float | None = None
) -> Agreement:
    """Run images in batches of several sizes, and compare.

    Equality to rounding shows on a few images; how many labels change shows on all of them only.

    Args:
        graph: What is run.
        pixels: Normalised, float32 (N, C, H, W).
        expected: Of the eager model, for these.
        precision: That of the graph; as many images are compared as it takes.
        temperature: As for `compare`.
    """
    few = min(FEW, len(pixels))
    parts = [slice(start, start + size) for size in SIZES for start in range(0, few, size)]
    if precision != "fp32":
        parts += [slice(start, start + FEW) for start in range(few, len(pixels), FEW)]
    parts = [slice(part.start, min(part.stop, len(pixels))) for part in parts]
    return compare(
        _joined([_part(expected, part) for part in parts]),
        _joined([graph(pixels[part]) for part in parts]),
        temperature,
    )


def _part(outputs: Outputs, rows: slice) -> Outputs:
    return Outputs(outputs.logits[rows], None if outputs.features is None else outputs.features[rows])


def _joined(parts: list[Outputs]) -> Outputs:
    features = [part.features for part in parts if part.features is not None]
    return Outputs(np.concatenate([part.logits for part in parts]), np.concatenate(features) if features else None)


def _softmax(logits: np.ndarray, temperature: float | None) -> np.ndarray:
    scaled = logits.astype(np.float64) / (temperature or 1.0)
    exponentials = np.exp(scaled - scaled.max(-1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))
