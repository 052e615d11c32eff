"""Capacity by bisection, and its prediction."""

import math

import pytest

from ait.memory.probe import (
    CONSTANTS,
    association_bits,
    bisect,
    capacity_probe,
    information_bound,
    predicted_capacity,
    recalled,
)


@pytest.mark.parametrize("limit", [1, 2, 7, 99, 1234])
@pytest.mark.parametrize("guess", [2, 50, 3000])
def test_bisection_finds_the_limit(limit: int, guess: int) -> None:
    found = bisect(lambda count: count <= limit, guess)
    assert limit * 0.97 - 1 <= found <= limit


@pytest.mark.parametrize(("kind", "dim", "hidden"), [("linear", 32, 0), ("outer_product", 128, 0), ("mlp", 16, 64)])
def test_the_prediction_solves_its_equation(kind: str, dim: int, hidden: int) -> None:
    count = predicted_capacity(kind, dim, hidden)
    width = hidden if kind == "mlp" else dim
    assert count * math.log(count) == pytest.approx(CONSTANTS[kind] * dim * width)


def test_outer_products_hold_what_is_predicted() -> None:
    measured = capacity_probe("outer_product", 128)
    assert measured == pytest.approx(predicted_capacity("outer_product", 128), rel=0.3)


@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_few_associations_are_recalled_and_too_many_are_not(kind: str) -> None:
    assert recalled(kind, 8, 8, hidden=16, steps=400) == 1.0
    assert recalled(kind, 8, 800, hidden=16, steps=50) < 0.5


def test_bits() -> None:
    assert information_bound(16, 4, 8) == 192
    assert association_bits(64) == 384
    assert association_bits(64, 4) == 128


def test_what_does_not_exist_is_refused() -> None:
    for arguments in (("none", 8), ("linear", 0), ("mlp", 8)):
        with pytest.raises(ValueError, match=r"Unknown|Widths"):
            predicted_capacity(*arguments)
