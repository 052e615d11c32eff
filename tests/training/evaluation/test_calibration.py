"""Temperatures and calibration errors that are known come out exactly."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from tests.support.models.logits import made_logits
from training.evaluation.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    calibrate,
    expected_calibration_error,
    fit_temperature,
    reliability,
)
from training.evaluation.metrics import measure


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
