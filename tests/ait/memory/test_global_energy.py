"""The energy over layers: bounds, the union of patterns, and cross-entropy against integration."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ait.memory.global_energy import (
    global_energy,
    log_log_slope,
    majoriser,
    nearest_neighbour_bounds,
    nearest_pattern,
    responsibilities,
    separated_cross_entropy,
    separation_radius,
)
from ait.memory.hopfield import energy, retrieve

SEEDS = st.integers(0, 999)
BETAS = st.floats(0.1, 8)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=40, deadline=None)
@given(SEEDS, BETAS, st.sampled_from(["d1", "d2"]))
def test_it_is_the_energy_of_all_patterns_together(seed, beta, kernel) -> None:
    queries, layers = normal(seed, 7, 3), normal(seed + 1, 4, 5, 3)
    energies = torch.stack([energy(queries, patterns, beta, kernel) for patterns in layers], dim=-1)
    torch.testing.assert_close(global_energy(energies, beta), energy(queries, layers.flatten(0, 1), beta, kernel))


@settings(max_examples=40, deadline=None)
@given(SEEDS, BETAS)
def test_the_majoriser_lies_above_and_touches(seed, beta) -> None:
    energies, reference = 3 * normal(seed, 50, 4), 3 * normal(seed + 1, 50, 4)
    assert (majoriser(energies, reference, beta) >= global_energy(energies, beta) - 1e-12).all()
    torch.testing.assert_close(majoriser(reference, reference, beta), global_energy(reference, beta))


def test_responsibilities_are_the_gradient_of_the_global_energy() -> None:
    energies = normal(0, 6, 4).requires_grad_()
    (gradient,) = torch.autograd.grad(global_energy(energies, 2.0).sum(), energies)
    torch.testing.assert_close(gradient, responsibilities(energies.detach(), 2.0))
    torch.testing.assert_close(gradient.sum(-1), torch.ones(6, dtype=torch.float64))


@settings(max_examples=40, deadline=None)
@given(SEEDS, BETAS, st.sampled_from(["d1", "d2"]))
def test_energies_lie_within_the_nearest_neighbour_bounds(seed, beta, kernel) -> None:
    queries, patterns = normal(seed, 20, 3), normal(seed + 1, 9, 3)
    lower, upper = nearest_neighbour_bounds(nearest_pattern(queries, patterns)[0], 9, beta, kernel)
    value = energy(queries, patterns, beta, kernel)
    assert (lower <= value + 1e-6).all()
    assert (value <= upper + 1e-6).all()


def test_a_retrieval_step_of_the_union_lowers_the_global_energy() -> None:
    queries, layers = normal(3, 30, 4), normal(4, 3, 6, 4)
    union = layers.flatten(0, 1)
    for kernel in ("d1", "d2"):
        before, after = (
            global_energy(torch.stack([energy(x, patterns, 2.0, kernel) for patterns in layers], dim=-1), 2.0)
            for x in (queries, retrieve(queries, union, 2.0, kernel))
        )
        assert (after <= before + 1e-9).all()


def test_nearest_patterns_and_their_radius() -> None:
    patterns = torch.tensor([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]], dtype=torch.float64)
    distances, index = nearest_pattern(patterns, patterns, exclude_self=True)
    torch.testing.assert_close(distances, torch.tensor([1.0, math.sqrt(18), 1.0], dtype=torch.float64))
    assert index.tolist() == [2, 2, 0]
    assert float(separation_radius(patterns)) == 0.5
    assert nearest_pattern(patterns, patterns)[0].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(("dim", "radius", "count"), [(1, 0.5, 3), (2, 1.0, 10), (8, 3.0, 50)])
def test_cross_entropy_of_disjoint_balls_equals_integration(dim, radius, count) -> None:
    distance = torch.linspace(0, radius, 100_001, dtype=torch.float64)
    surface = 2 * math.pi ** (dim / 2) / math.gamma(dim / 2)
    normaliser = count * surface * float(torch.trapezoid(distance ** (dim - 1) * torch.exp(-distance), distance))
    assert separated_cross_entropy(dim, radius, count) == pytest.approx(math.log(normaliser), abs=1e-6)
    assert separated_cross_entropy(dim, radius, count, 0.25) == pytest.approx(math.log(normaliser) + 0.25, abs=1e-6)


def test_cross_entropy_of_small_balls_in_many_dimensions() -> None:
    # A ball so small that exp(-distance) is one within it: the logarithm of the balls' volume.
    dim, radius = 768, 1e-6
    volume = dim / 2 * math.log(math.pi) - math.lgamma(dim / 2 + 1) + dim * math.log(radius)
    assert separated_cross_entropy(dim, radius, 10) == pytest.approx(math.log(10) + volume, abs=1e-5)
    # Both ways to compute it agree where one gives way to the other.
    dims = [dim for dim in range(150, 400)]
    values = [separated_cross_entropy(dim, 5.0, 1) for dim in dims]
    curvature = [values[i - 1] - 2 * values[i] + values[i + 1] for i in range(1, len(values) - 1)]
    assert max(map(abs, curvature)) < 0.02


def test_cross_entropy_may_be_negative() -> None:
    assert separated_cross_entropy(4, 0.1, 1) < 0


@settings(deadline=None)
@given(st.floats(-3, 3), st.floats(0.1, 10))
def test_a_power_law_has_its_exponent_as_slope(exponent, factor) -> None:
    x = [1.0, 2.0, 5.0, 9.0]
    assert log_log_slope(x, [factor * value**exponent for value in x]) == pytest.approx(exponent, abs=1e-9)


def test_bounds_of_other_kernels_are_unknown() -> None:
    with pytest.raises(ValueError, match="dot"):
        nearest_neighbour_bounds(torch.zeros(1), 2, kernel="dot")
