"""Checks of figures against ranges."""

import math

import pytest
from matplotlib.figure import Figure

from training.experiments import Check, Outcome


@pytest.mark.parametrize(
    ("measured", "passed"), [(0.9, True), (1.1, True), (0.89, False), (1.11, False), (math.nan, False)]
)
def test_a_check_passes_within_its_range(measured, passed) -> None:
    assert Check("a figure", measured, 0.9, 1.1).passed is passed


def test_a_range_around_theory_is_a_share_and_a_margin() -> None:
    check = Check.near("a slope", -0.47, -0.5, share=0.1, margin=0.01)
    assert (check.low, check.high, check.theory) == (pytest.approx(-0.56), pytest.approx(-0.44), -0.5)
    assert check.passed


@pytest.mark.parametrize(("accuracy", "passed"), [(0.5, False), (0.513, False), (0.52, True), (math.nan, False)])
def test_a_model_has_learnt_where_it_is_better_than_guessing(accuracy: float, passed: bool) -> None:
    assert Check.learnt("two classes", accuracy, classes=2, images=10_000).passed is passed


def test_an_outcome_passes_where_all_checks_do() -> None:
    good, bad = Check("good", 1, 0, 2), Check("bad", 3, 0, 2)
    assert Outcome("title", [good], Figure()).passed
    assert not Outcome("title", [good, bad], Figure()).passed
