"""Compare a classifier's confidence with its accuracy, and fit the temperature that makes them equal."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional.classification import multiclass_calibration_error

# The usual number in the literature, so that errors compare.
BINS = 15
# Beyond these a temperature says that the logits rank every image right, or say nothing.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.01, 100.0
# Weight, in images, of the belief that the temperature is 1: the same wherever one is fitted, so that figures agree.
PRIOR = 1.0
_LARGEST_BELOW_ONE = 1 - 2**-24  # of float32
_NEWTON_STEPS = 100


@dataclass(frozen=True)
class Reliability:
    """Images grouped by the confidence of their answers, into `BINS` bins of equal width from 0 to 1.

    Attributes:
        images: Images per bin, shape (bins,) int64.
        confidence: Mean probability of the first label per bin, shape (bins,) float64; NaN where there are no images.
        accuracy: Share of right answers per bin, shape (bins,) float64; NaN where there are no images.
    """

    images: Tensor
    confidence: Tensor
    accuracy: Tensor

    def to_json(self) -> list[dict[str, float | int | None]]:
        """Return one mapping per bin, with null for the means of bins without images."""
        rows: list[dict[str, float | int | None]] = []
        for index, images in enumerate(self.images.tolist()):
            rows.append(
                {
                    "from": index / len(self.images),
                    "to": (index + 1) / len(self.images),
                    "images": images,
                    "confidence": float(self.confidence[index]) if images else None,
                    "accuracy": float(self.accuracy[index]) if images else None,
                }
            )
        return rows


class CalibrationErrors(NamedTuple):
    """How far probabilities are from what happens.

    Attributes:
        nll: Mean negative log-likelihood of the right label, in nats.
        ece: Expected calibration error, a share of 1.
    """

    nll: float
    ece: float


@dataclass(frozen=True)
class Calibration:
    """A temperature, and what dividing the logits by it does on the images that it was fitted to.

    Attributes:
        temperature: Positive; above 1 the model is too sure of itself.
        images: How many there were.
        nll: Mean negative log-likelihood of the right label, in nats, of the logits as they are.
        ece: Expected calibration error, likewise.
        nll_at_temperature: `nll` of the logits divided.
        ece_at_temperature: `ece` of the logits divided.
    """

    temperature: float
    images: int
    nll: float
    ece: float
    nll_at_temperature: float
    ece_at_temperature: float


def reliability(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> Reliability:
    """Group images by confidence, as `expected_calibration_error` does.

    Args:
        probabilities: (N, classes).
        labels: (N,) int64.
        bins: Number of bins.
    """
    confidence, answers = _below_one(probabilities).max(dim=1)
    confidence = confidence.float()
    index = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1), right=True) - 1
    images = torch.bincount(index, minlength=bins)
    right = torch.bincount(index, weights=(answers == labels).double(), minlength=bins)
    total = torch.bincount(index, weights=confidence.double(), minlength=bins)
    # 0 / 0 is NaN, the mean over no images.
    return Reliability(images, total / images, right / images)


def expected_calibration_error(probabilities: Tensor, labels: Tensor, bins: int = BINS) -> float:
    """Average the distance of accuracy from confidence over the bins, weighted by their images.

    Args:
        probabilities: (N, classes).
        labels: (N,) int64.
        bins: Number of bins.
    """
    classes = probabilities.shape[1]
    return float(multiclass_calibration_error(_below_one(probabilities), labels, classes, n_bins=bins))


def fit_temperature(logits: Tensor, labels: Tensor, prior: float = 0.0) -> float:
    """Find the temperature T whose ``softmax(logits / T)`` has the lowest negative log-likelihood.

    Above 1 the model is too sure of itself, below 1 too unsure. The order of the labels, and so the accuracy,
    stays. In ``1 / T`` the likelihood is convex, so there is one answer; Newton's steps find it, within a bracket
    that halves where a step would leave it.

    Args:
        logits: (N, classes), of images that the model was not trained on.
        labels: (N,) int64.
        prior: Weight, in images, of the belief that T is 1 (a Gamma distribution of ``1 / T`` with its mode there).
            Without it, a few images that are all answered right would make every answer certain; among hundreds it
            does not show.

    Returns:
        T within `MIN_TEMPERATURE` and `MAX_TEMPERATURE`; 1 if every image's logits are all equal.
    """
    logits = logits.double()
    logits = logits - logits.mean(dim=1, keepdim=True)
    given = logits.gather(1, labels.unsqueeze(1)).squeeze(1)  # (N,)
    count = len(labels)

    def derivatives(inverse: float) -> tuple[float, float]:
        probabilities = (inverse * logits).softmax(dim=1)
        mean = (probabilities * logits).sum(dim=1)
        variance = (probabilities * logits.square()).sum(dim=1) - mean.square()
        # Of prior * (inverse - log(inverse)) too, the prior's negative logarithm.
        slope, curvature = prior * (1 - 1 / inverse), prior / inverse**2
        return float((mean - given).mean()) + slope / count, float(variance.mean()) + curvature / count

    low, high = 1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE
    if not logits.any():
        return 1.0
    if derivatives(low)[0] >= 0:
        return MAX_TEMPERATURE
    if derivatives(high)[0] <= 0:
        return MIN_TEMPERATURE
    inverse = 1.0
    for _ in range(_NEWTON_STEPS):
        slope, curvature = derivatives(inverse)
        low, high = (low, inverse) if slope > 0 else (inverse, high)
        following = inverse - slope / curvature if curvature > 0 else low
        if not low < following < high:
            following = (low * high) ** 0.5
        inverse, step = following, abs(following - inverse)
        # Newton's error is squared by each step.
        if step <= 1e-7 * inverse:
            break
    return 1 / inverse


def errors_at(logits: Tensor, labels: Tensor, temperature: float) -> CalibrationErrors:
    """Measure the errors of logits divided by a temperature.

    Args:
        logits: (N, classes).
        labels: (N,) int64.
        temperature: Positive.
    """
    scaled = logits.double() / temperature
    nll = float(F.cross_entropy(scaled, labels))
    return CalibrationErrors(nll, expected_calibration_error(scaled.softmax(dim=1), labels))


def calibrate(logits: Tensor, labels: Tensor) -> Calibration:
    """Fit the temperature that a checkpoint carries, and measure what it changes on the same images.

    Args:
        logits: (N, classes), finite, of images that the model was not trained on.
        labels: (N,) int64.

    Raises:
        ValueError: A logit is not finite.
    """
    if not logits.isfinite().all():
        raise ValueError("logits that are not finite have no temperature")
    logits, labels = logits.cpu(), labels.cpu()
    temperature = fit_temperature(logits, labels, PRIOR)
    nll, ece = errors_at(logits, labels, 1.0)
    return Calibration(temperature, len(labels), nll, ece, *errors_at(logits, labels, temperature))


def _below_one(probabilities: Tensor) -> Tensor:
    # A confidence of exactly one would have a bin of its own, beside the last.
    return probabilities.clamp(max=_LARGEST_BELOW_ONE)
