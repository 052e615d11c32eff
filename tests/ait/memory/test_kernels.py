"""Closed-form signal-to-noise ratios against integrals, limits and random keys."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ait.memory.kernels import (
    KERNELS,
    gaussian_inverse_snr,
    gaussian_mean_inverse_snr,
    inverse_snr,
    kernel,
    sphere_inverse_snr,
)


def sphere_moment(function, dim: int) -> float:
    """Mean of function(t) over one coordinate t of a random unit vector, by integration over the angle."""
    angle = torch.linspace(0, math.pi, 20001, dtype=torch.float64)
    density = angle.sin() ** (dim - 2)
    return float((density * function(angle.cos())).sum() / density.sum())


@pytest.mark.parametrize("dim", [3, 8, 32, 64])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linear", {}),
        ("relu", {}),
        ("polynomial", {"degree": 2}),
        ("polynomial", {"degree": 3}),
        ("exp", {"temperature": 1.0}),
        ("exp", {"temperature": 0.25}),
        ("exp", {"temperature": 0.02}),
        ("softmax", {"temperature": 0.125}),
    ],
)
def test_closed_forms_on_the_sphere_equal_integrals(name, options, dim) -> None:
    def value(t: torch.Tensor) -> torch.Tensor:
        # A constant factor cancels; without it exp(50) squared would lose nothing but look alarming.
        return kernel(t[:, None], torch.ones(1, 1, dtype=t.dtype), "exp" if name == "softmax" else name, **options)[
            :, 0
        ]

    own = float(value(torch.ones(1, dtype=torch.float64)).square())
    expected = 10 * sphere_moment(lambda t: value(t).square(), dim) / own
    assert sphere_inverse_snr(name, dim, 11, **options) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("name", "options"), [("linear", {}), ("relu", {}), ("polynomial", {"degree": 2})])
def test_closed_forms_hold_for_random_keys(name, options) -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(64, 128, 16, generator=generator, dtype=torch.float64)
    values = torch.randn(64, 128, 64, generator=generator, dtype=torch.float64)
    measured = inverse_snr(values, kernel(keys, keys, name, **options)).mean()
    assert float(measured) == pytest.approx(gaussian_inverse_snr(name, 16, 128, **options), rel=0.05)
    keys = F.normalize(keys, dim=-1)
    measured = inverse_snr(values, kernel(keys, keys, name, **options)).mean()
    assert float(measured) == pytest.approx(sphere_inverse_snr(name, 16, 128, **options), rel=0.05)


def test_the_mean_of_ratios_is_larger_than_the_ratio_of_means() -> None:
    generator = torch.Generator().manual_seed(1)
    keys = torch.randn(64, 128, 16, generator=generator, dtype=torch.float64)
    values = torch.randn(64, 128, 32, generator=generator, dtype=torch.float64)
    measured = inverse_snr(values, kernel(keys, keys, "linear"), mean_of_ratios=True).mean()
    assert float(measured) == pytest.approx(gaussian_mean_inverse_snr(16, 128, 32), rel=0.05)
    assert gaussian_mean_inverse_snr(16, 128, 32) > gaussian_inverse_snr("linear", 16, 128)


@pytest.mark.parametrize(("dim", "share"), [(1, 1.0), (2, 2 / 3), (3, 0.5), (4, 2 / 3 - math.sqrt(3) / (2 * math.pi))])
def test_rounding_keeps_the_caps_of_the_sphere(dim, share) -> None:
    assert sphere_inverse_snr("round", dim, 2) == pytest.approx(share)


def test_rounding_far_above_the_plane_equals_the_integral() -> None:
    angle = torch.linspace(0, math.pi, 300_001, dtype=torch.float64)  # a third of the steps ends where cos is 1/2
    for dim in (8, 64, 512):
        density = angle.sin() ** (dim - 2)
        cap = 2 * torch.trapezoid(density[:100_001]) / torch.trapezoid(density)
        assert sphere_inverse_snr("round", dim, 2) == pytest.approx(float(cap), rel=1e-6)


@settings(deadline=None)
@given(st.integers(2, 64), st.integers(2, 1000))
def test_known_special_cases(dim, count) -> None:
    linear = sphere_inverse_snr("linear", dim, count)
    assert linear == pytest.approx((count - 1) / dim)
    assert sphere_inverse_snr("relu", dim, count) == pytest.approx(linear / 2)
    assert sphere_inverse_snr("polynomial", dim, count, degree=1) == pytest.approx(linear)
    assert gaussian_inverse_snr("linear", dim, count) == pytest.approx((count - 1) / (dim + 2))
    # A hot exponential compares nothing.
    assert sphere_inverse_snr("exp", dim, count, temperature=1e4) == pytest.approx(count - 1, rel=1e-3)


def test_a_normaliser_a_query_cancels() -> None:
    generator = torch.Generator().manual_seed(2)
    keys = F.normalize(torch.randn(32, 8, generator=generator, dtype=torch.float64), dim=-1)
    values = torch.randn(32, 4, generator=generator, dtype=torch.float64)
    one, other = (
        inverse_snr(values, kernel(keys, keys, name, temperature=0.3), mean_of_ratios=True)
        for name in ("exp", "softmax")
    )
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", KERNELS)
def test_masked_keys_count_for_nothing(name) -> None:
    generator = torch.Generator().manual_seed(3)
    queries, keys = torch.randn(5, 4, generator=generator), torch.randn(7, 4, generator=generator)
    mask = torch.rand(5, 7, generator=generator) < 0.5
    mask[0] = False
    weights = kernel(queries, keys, name, mask=mask)
    assert (weights[~mask] == 0).all()
    for row in range(1, 5):
        torch.testing.assert_close(weights[row, mask[row]], kernel(queries[row], keys[mask[row]], name))


def test_what_cannot_be_computed_is_refused() -> None:
    keys = torch.ones(1, 1)
    for call in (
        lambda: kernel(keys, keys, "cosine"),
        lambda: kernel(keys, keys, "exp", temperature=0.0),
        lambda: sphere_inverse_snr("polynomial", 4, 4, degree=0),
        lambda: gaussian_inverse_snr("exp", 4, 4),
        lambda: gaussian_mean_inverse_snr(2, 4, 4),
    ):
        with pytest.raises(ValueError, match=r".+"):
            call()
