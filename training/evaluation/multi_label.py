"""Measure a classifier whose classes do not exclude each other: an image has any number of them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import binary_average_precision

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class ClassFigures:
    """How well one class is told from its absence.

    Attributes:
        images: Images that have it.
        average_precision: Area under its curve of precision over recall; None where no image has it.
        threshold: The probability from which it counts as found.
        precision: Share of the images it is found in that have it; None where it is found in none.
        recall: Share of the images that have it in which it is found; None where no image has it.
        f1: Harmonic mean of both; None where no image has it.
    """

    images: int
    average_precision: float | None
    threshold: float
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True)
class MultiLabelResult:
    """The figures of a model's answers on a set of images.

    Attributes:
        images: How many were seen.
        mean_average_precision: Mean over the classes that occur (mAP).
        loss: Binary cross-entropy, averaged over images and classes, in nats.
        per_class: By name.
    """

    images: int
    mean_average_precision: float
    loss: float
    per_class: dict[str, ClassFigures]

    @property
    def thresholds(self) -> dict[str, float]:
        """The probability from which each class counts as found."""
        return {name: figures.threshold for name, figures in self.per_class.items()}

    def to_json(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return asdict(self)


def measure_multi_label(
    logits: Tensor, targets: Tensor, classes: Sequence[str], thresholds: Mapping[str, float] | None = None
) -> MultiLabelResult:
    """Compare logits with the classes that each image has.

    Args:
        logits: (N, classes), finite, N > 0.
        targets: (N, classes), 1 where the image has the class, else 0.
        classes: Names by label.
        thresholds: Of the probabilities, by class; None fits those with the highest F1 to these images.

    Raises:
        ValueError: Shapes do not fit, or there are no images.
    """
    if not len(targets) or logits.shape != targets.shape or logits.shape[1] != len(classes):
        raise ValueError(f"{tuple(logits.shape)} logits do not fit {tuple(targets.shape)} targets")
    logits, wanted = logits.double().cpu(), targets.cpu() > 0.5
    per_class = {}
    for label, name in enumerate(classes):
        mine, present = logits[:, label], wanted[:, label]
        threshold = fit_threshold(mine, present) if thresholds is None else thresholds.get(name, DEFAULT_THRESHOLD)
        per_class[name] = _figures(mine, present, threshold)
    return MultiLabelResult(
        images=len(logits),
        mean_average_precision=mean_average_precision(logits, targets),
        loss=float(F.binary_cross_entropy_with_logits(logits, wanted.double())),
        per_class=per_class,
    )


def mean_average_precision(logits: Tensor, targets: Tensor) -> float:
    """Compute the mean, over the classes that occur, of the area under the curve of precision over recall.

    Args:
        logits: (N, classes).
        targets: (N, classes), 0 or 1.

    Returns:
        A share of 1; 0 where no image has any class, or a logit is not a number.
    """
    wanted = targets > 0.5
    found = [_average_precision(logits[:, label], wanted[:, label]) for label in range(logits.shape[1])]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and not logits.isnan().any() else 0.0


def fit_threshold(logits: Tensor, present: Tensor) -> float:
    """Find the threshold of a class's probability with the highest F1, halfway between two logits.

    Args:
        logits: (N,) of the class.
        present: (N,) bool, True for images that have it.

    Returns:
        A probability; 0.5 where no image has the class.
    """
    if not present.any():
        return DEFAULT_THRESHOLD
    ranked, order = logits.double().sort(descending=True, stable=True)
    hits = present[order].cumsum(0)
    f1 = 2 * hits / (torch.arange(1, len(ranked) + 1) + int(present.sum()))
    # Equal logits are found together or not at all.
    below = torch.cat([ranked[1:], ranked[-1:] - 2])
    best = int(torch.where(ranked > below, f1, -1.0).argmax())
    return float(((ranked[best] + below[best]) / 2).sigmoid())


def _average_precision(logits: Tensor, present: Tensor) -> float | None:
    if not present.any():
        return None
    # Ranks in place of probabilities, which are all 1 from some logit on.
    ranks = logits.unique(return_inverse=True)[1]
    return float(binary_average_precision(ranks.double() / max(len(ranks), 1), present.long()))


def _figures(logits: Tensor, present: Tensor, threshold: float) -> ClassFigures:
    found = logits.sigmoid() >= threshold
    hits, answers, images = (int(value.sum()) for value in (found & present, found, present))
    precision, recall = (hits / answers if answers else None), (hits / images if images else None)
    f1 = 2 * hits / (answers + images) if images else None
    average = _average_precision(logits, present)
    return ClassFigures(images, average, threshold, precision, recall, f1)
