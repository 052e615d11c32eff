"""Classifiers whose accuracy, likelihood and calibration are known get exactly those."""

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from training.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from training.evaluation.metrics import measure

CLASSES = ("ant", "bee", "cat", "dog")
LABELS = torch.arange(40) % 4


def made_logits(seed: int, images: int = 200, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Logits that know something of the labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (images,), generator=generator)
    return 2 * F.one_hot(labels, classes) + 2 * torch.randn(images, classes, generator=generator), labels


def test_a_perfect_classifier() -> None:
    result = measure(100.0 * F.one_hot(LABELS, 4), LABELS, CLASSES)
    assert (result.images, result.top1, result.top5) == (40, 1.0, 1.0)
    assert result.per_class == dict.fromkeys(CLASSES, 1.0)
    assert result.confusion.tolist() == torch.diag(torch.full((4,), 10)).tolist()
    assert result.nll == pytest.approx(0, abs=1e-12)
    assert result.brier == pytest.approx(0, abs=1e-12)
    assert result.ece == pytest.approx(0, abs=1e-6)
    assert result.temperature == MIN_TEMPERATURE


def test_a_classifier_that_is_sure_and_wrong() -> None:
    result = measure(100.0 * F.one_hot((LABELS + 1) % 4, 4), LABELS, CLASSES)
    assert result.top1 == 0
    assert result.brier == pytest.approx(2)
    assert result.ece == pytest.approx(1, abs=1e-6)
    assert result.nll == pytest.approx(100)
    assert result.temperature == MAX_TEMPERATURE


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
    assert measure(logits, labels, tuple("abcdefg")).top5 == pytest.approx(5 / 7)


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


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 30))
def test_bins_add_up_to_the_calibration_error(seed: int, bins: int) -> None:
    logits, labels = made_logits(seed)
    probabilities = logits.double().softmax(dim=1)
    grouped = reliability(probabilities, labels, bins)
    assert int(grouped.images.sum()) == len(labels)
    gaps = (grouped.accuracy - grouped.confidence).abs().nan_to_num()
    error = float((gaps * grouped.images).sum() / len(labels))
    assert error == pytest.approx(expected_calibration_error(probabilities, labels, bins), abs=1e-5)


@pytest.mark.parametrize("margin", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("right", [60, 95])
def test_temperature_of_two_classes_is_the_known_one(margin: float, right: int) -> None:
    """Of 100 images with one margin, softmax gives the share of right answers at margin / logit(share)."""
    logits = torch.tensor([margin, 0.0], dtype=torch.float64).expand(100, 2)
    labels = (torch.arange(100) >= right).long()
    expected = margin / math.log(right / (100 - right))
    if MIN_TEMPERATURE < expected < MAX_TEMPERATURE:
        assert fit_temperature(logits, labels) == pytest.approx(expected, rel=1e-9)
    else:
        assert fit_temperature(logits, labels) == MIN_TEMPERATURE


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.1, 10))
def test_temperature_scales_with_the_logits_and_is_the_best(seed: int, factor: float) -> None:
    logits, labels = made_logits(seed)
    temperature = fit_temperature(factor * logits.double(), labels)
    assert temperature == pytest.approx(factor * fit_temperature(logits, labels), rel=1e-8)
    losses = [F.cross_entropy(factor * logits.double() / t, labels) for t in (0.95 * temperature, temperature * 1.05)]
    assert F.cross_entropy(factor * logits.double() / temperature, labels) < min(losses)


def test_temperature_calibrates_logits_that_were_scaled() -> None:
    """Labels drawn from softmax(logits) make logits calibrated; three times them, overconfident threefold."""
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(5000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).squeeze(1)
    result = measure(3 * logits, labels, tuple("abcde"))
    assert result.temperature == pytest.approx(3, rel=0.1)
    assert result.ece > 0.1
    assert result.ece_at_temperature < 0.03
    assert result.nll_at_temperature < result.nll


@pytest.mark.parametrize("images", [1, 5, 15])
def test_a_few_right_answers_do_not_make_every_answer_certain(images: int) -> None:
    logits, labels = torch.tensor([[2.0, 0.0, 0.0]]).expand(images, 3), torch.zeros(images, dtype=torch.int64)
    assert fit_temperature(logits, labels) == MIN_TEMPERATURE
    assert 0.2 < fit_temperature(logits, labels, prior=1.0) < 1


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6), st.floats(0.2, 5))
def test_the_prior_draws_towards_one_and_is_forgotten_among_many_images(seed: int, factor: float) -> None:
    logits, labels = made_logits(seed)
    free, drawn = (fit_temperature(factor * logits, labels, prior) for prior in (0.0, 1.0))
    assert min(free, 1) - 1e-6 <= drawn <= max(free, 1) + 1e-6
    assert drawn == pytest.approx(free, rel=0.05)


def test_calibration_tells_what_the_temperature_does() -> None:
    logits, labels = made_logits(3)
    found = calibrate(4 * logits, labels)
    assert found.images == 200
    assert found.temperature == fit_temperature(4 * logits, labels, prior=1.0)
    result = measure(4 * logits, labels, tuple("abcde"), found.temperature)
    assert (found.nll, found.ece) == pytest.approx((result.nll, result.ece))
    assert result.checkpoint_temperature == found.temperature
    carried = (result.nll_at_checkpoint_temperature, result.ece_at_checkpoint_temperature)
    assert (found.nll_at_temperature, found.ece_at_temperature) == carried
    assert found.nll_at_temperature < found.nll
    assert measure(logits, labels, tuple("abcde")).nll_at_checkpoint_temperature is None
