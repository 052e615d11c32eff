"""Classifiers whose accuracy and likelihood are known get exactly those."""

import json
import math

import pytest
import torch
from torch.nn import functional as F

from tests.support.models.logits import made_logits
from training.evaluation.calibration import calibrate
from training.evaluation.metrics import measure, wilson_interval

CLASSES = ("ant", "bee", "cat", "dog")


LABELS = torch.arange(40) % 4


def test_a_perfect_classifier() -> None:
    result = measure(100.0 * F.one_hot(LABELS, 4), LABELS, CLASSES)
    assert (result.images, result.top1) == (40, 1.0)
    assert result.top1_interval == pytest.approx((0.9124, 1.0), abs=1e-4)
    assert result.per_class == dict.fromkeys(CLASSES, 1.0)
    assert result.confusion.tolist() == torch.diag(torch.full((4,), 10)).tolist()
    assert result.nll == pytest.approx(0, abs=1e-12)
    assert result.brier == pytest.approx(0, abs=1e-12)
    assert result.ece == pytest.approx(0, abs=1e-6)
    # Nothing is left to gain by being surer.
    assert result.temperature == pytest.approx(1, abs=1e-3)


def test_a_classifier_that_is_sure_and_wrong() -> None:
    result = measure(100.0 * F.one_hot((LABELS + 1) % 4, 4), LABELS, CLASSES)
    assert result.top1 == 0
    assert result.brier == pytest.approx(2)
    assert result.ece == pytest.approx(1, abs=1e-6)
    assert result.nll == pytest.approx(100)
    assert result.temperature > 10


def test_a_classifier_that_knows_nothing() -> None:
    result = measure(torch.zeros(40, 4), LABELS, CLASSES)
    assert result.top1 == 0.25
    assert result.nll == pytest.approx(math.log(4))
    assert result.brier == pytest.approx(1 - 1 / 4)
    assert result.ece == pytest.approx(0, abs=1e-6)
    assert result.temperature == 1


def test_a_constant_classifier() -> None:
    probabilities = torch.tensor([0.7, 0.1, 0.1, 0.1])
    result = measure(probabilities.log().expand(40, 4), LABELS, CLASSES)
    assert result.per_class == {"ant": 1.0, "bee": 0.0, "cat": 0.0, "dog": 0.0}
    assert result.ece == pytest.approx(0.7 - 0.25, abs=1e-6)
    assert result.nll == pytest.approx(-(math.log(0.7) + 3 * math.log(0.1)) / 4, rel=1e-6)


def test_top5_counts_labels_among_the_first_five() -> None:
    labels = torch.arange(7)
    logits = -torch.arange(7.0).expand(7, 7)  # ranks the classes 0, 1, …, 6 for every image
    result = measure(logits, labels, tuple("abcdefg"))
    assert result.top5 == pytest.approx(5 / 7)
    assert result.top5_interval == pytest.approx(wilson_interval(5, 7))


@pytest.mark.parametrize("classes", [2, 5])
def test_of_few_classes_there_are_no_first_five(classes: int) -> None:
    result = measure(torch.eye(classes), torch.arange(classes), tuple("abcde"[:classes]))
    assert (result.top5, result.top5_interval) == (None, None)
    assert result.to_json()["top5"] is None


def test_intervals_are_wilsons() -> None:
    # By another implementation: statsmodels' proportion_confint(method="wilson").
    assert wilson_interval(8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson_interval(0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)


def test_a_temperature_is_the_same_wherever_it_is_fitted() -> None:
    logits, labels = made_logits(0)
    assert measure(logits, labels, tuple("abcde")).temperature == calibrate(logits, labels).temperature


def test_classes_without_images_are_left_out() -> None:
    result = measure(torch.eye(4)[:2], torch.tensor([0, 0]), CLASSES)
    assert result.per_class == {"ant": 0.5}


def test_the_result_is_json() -> None:
    text = json.dumps(measure(*made_logits(0), classes=tuple("abcde")).to_json(), allow_nan=False)
    assert sum(row["images"] for row in json.loads(text)["reliability"]) == 200


@pytest.mark.parametrize(("row", "column"), [(3, 1), (0, 0)])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_logits_that_are_not_finite_are_refused(row: int, column: int, value: float) -> None:
    logits = torch.zeros(5, 4)
    logits[row, column] = value
    with pytest.raises(ValueError, match=f"image {row} "):
        measure(logits, torch.zeros(5, dtype=torch.int64), CLASSES)
    with pytest.raises(ValueError, match="not finite have no temperature"):
        calibrate(logits, torch.zeros(5, dtype=torch.int64))


def test_logits_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(40, 3\) logits do not fit 40 images of 4 classes"):
        measure(torch.zeros(40, 3), LABELS, CLASSES)
