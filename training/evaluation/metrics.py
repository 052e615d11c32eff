"""Measure what a classifier's logits on labelled images are worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_confusion_matrix

from training.evaluation.calibration import (
    PRIOR,
    Reliability,
    errors_at,
    expected_calibration_error,
    fit_temperature,
    reliability,
)

_NORMAL_95 = 1.959964  # standard deviations that hold 95 % of a normal distribution
_TOP = 5

Interval = tuple[float, float]


@dataclass(frozen=True)
class EvaluationResult:
    """The figures of a model's answers on a set of images.

    Attributes:
        images: How many were seen, each once.
        top1: Share of images whose first label is right.
        top1_interval: 95 % confidence interval of `top1`, as if the images were drawn at random.
        top5: Share of images whose label is among the first five; None of five classes or fewer.
        top5_interval: As `top1_interval`.
        nll: Mean negative log-likelihood of the right label, in nats.
        brier: Mean over images of the squared distance of the probabilities from the right label's one-hot
            vector: 0 where all is right and sure, 2 where all is wrong and sure.
        ece: Expected calibration error over 15 bins, L1.
        temperature: What the logits of these very images want to be divided by, as `fit_temperature` finds it.
        nll_at_temperature: `nll` of the logits so divided.
        ece_at_temperature: `ece` of the logits so divided.
        checkpoint_temperature: What the checkpoint carries to divide its logits by, fitted to other images unless
            these are the ones; None if it carries none.
        nll_at_checkpoint_temperature: `nll` of the logits divided by that.
        ece_at_checkpoint_temperature: `ece` of the logits divided by that.
        per_class: Share of right answers among each class's images; classes without images are left out.
        classes: Names by label.
        confusion: (classes, classes) int64, rows true, columns predicted.
        reliability: Accuracy by confidence.
    """

    images: int
    top1: float
    top1_interval: Interval
    top5: float | None
    top5_interval: Interval | None
    nll: float
    brier: float
    ece: float
    temperature: float
    nll_at_temperature: float
    ece_at_temperature: float
    checkpoint_temperature: float | None
    nll_at_checkpoint_temperature: float | None
    ece_at_checkpoint_temperature: float | None
    per_class: dict[str, float]
    classes: tuple[str, ...]
    confusion: Tensor = field(repr=False)
    reliability: Reliability = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top1_interval": list(self.top1_interval),
            "top5": self.top5,
            "top5_interval": None if self.top5_interval is None else list(self.top5_interval),
            "nll": self.nll,
            "brier": self.brier,
            "ece": self.ece,
            "temperature": self.temperature,
            "nll_at_temperature": self.nll_at_temperature,
            "ece_at_temperature": self.ece_at_temperature,
            "checkpoint_temperature": self.checkpoint_temperature,
            "nll_at_checkpoint_temperature": self.nll_at_checkpoint_temperature,
            "ece_at_checkpoint_temperature": self.ece_at_checkpoint_temperature,
            "per_class": self.per_class,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
            "reliability": self.reliability.to_json(),
        }


def measure(
    logits: Tensor, labels: Tensor, classes: Sequence[str], checkpoint_temperature: float | None = None
) -> EvaluationResult:
    """Compare logits with the labels they should have given.

    Args:
        logits: (N, classes), finite, N > 0.
        labels: (N,) int64.
        classes: Names by label.
        checkpoint_temperature: What the checkpoint carries to divide its logits by; None if it carries none.

    Raises:
        ValueError: Shapes do not fit, there are no images, or a logit is not finite.
    """
    count = len(classes)
    if not len(labels) or logits.shape != (len(labels), count):
        raise ValueError(f"{tuple(logits.shape)} logits do not fit {len(labels)} images of {count} classes")
    if not logits.isfinite().all():
        raise ValueError(f"the logits of image {int((~logits.isfinite()).any(dim=1).nonzero()[0])} are not finite")
    logits, labels = logits.cpu(), labels.cpu()
    # Of the logits as they came: rounding in a softmax could make two of them equal.
    confusion = multiclass_confusion_matrix(logits, labels, count)
    top5 = None
    if count > _TOP:
        top5 = float(multiclass_accuracy(logits, labels, count, top_k=_TOP, average="micro"))
    right, totals = confusion.diag().tolist(), confusion.sum(dim=1).tolist()
    temperature = fit_temperature(logits, labels, PRIOR)
    probabilities = logits.double().softmax(dim=1)
    nll_fitted, ece_fitted = errors_at(logits, labels, temperature)
    nll_carried, ece_carried = (
        (None, None) if checkpoint_temperature is None else errors_at(logits, labels, checkpoint_temperature)
    )
    return EvaluationResult(
        images=len(labels),
        top1=sum(right) / len(labels),
        top1_interval=wilson_interval(sum(right), len(labels)),
        top5=top5,
        top5_interval=None if top5 is None else wilson_interval(round(top5 * len(labels)), len(labels)),
        nll=float(F.cross_entropy(logits.double(), labels)),
        brier=_brier(probabilities, labels),
        ece=expected_calibration_error(probabilities, labels),
        temperature=temperature,
        nll_at_temperature=nll_fitted,
        ece_at_temperature=ece_fitted,
        checkpoint_temperature=checkpoint_temperature,
        nll_at_checkpoint_temperature=nll_carried,
        ece_at_checkpoint_temperature=ece_carried,
        per_class={name: right[label] / totals[label] for label, name in enumerate(classes) if totals[label]},
        classes=tuple(classes),
        confusion=confusion,
        reliability=reliability(probabilities, labels),
    )


def wilson_interval(right: int, images: int) -> Interval:
    """Compute the 95 % confidence interval of a share (Wilson's, which holds for few images and near 0 and 1 too).

    Args:
        right: Images that were answered right.
        images: Images, at least 1.
    """
    share, square = right / images, _NORMAL_95**2
    middle = (share + square / (2 * images)) / (1 + square / images)
    half = _NORMAL_95 / (1 + square / images) * math.sqrt(share * (1 - share) / images + square / (4 * images**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def _brier(probabilities: Tensor, labels: Tensor) -> float:
    given = probabilities.gather(1, labels.unsqueeze(1)).squeeze(1)
    # |p - one_hot|^2, without the one-hot vectors.
    return float((probabilities.square().sum(dim=1) - 2 * given + 1).mean())
