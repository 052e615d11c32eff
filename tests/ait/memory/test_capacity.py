"""Measures of a memory against closed forms."""

import math

import pytest
import torch
import torch.nn.functional as F

from ait.memory.capacity import effective_rank, perplexity, retrieval_snr
from ait.memory.hopfield import recall_weights


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_effective_rank_counts_directions_of_equal_strength(rank: int) -> None:
    rows = torch.eye(8)[[i % rank for i in range(8 // rank * rank)]]
    assert effective_rank(rows) == pytest.approx(rank)


def test_a_memory_of_zeros_spreads_over_no_direction() -> None:
    assert effective_rank(torch.zeros(4, 8)) == 0


def test_effective_rank_of_a_known_spectrum() -> None:
    left, right = (torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64)).Q for _ in range(2))
    strength = torch.tensor([3.0, 2.0, 1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    share = [9 / 14, 4 / 14, 1 / 14]
    expected = math.exp(-sum(p * math.log(p) for p in share))
    assert effective_rank(left * strength @ right) == pytest.approx(expected)
    assert effective_rank(5 * (left * strength) @ right) == pytest.approx(expected)


def test_perplexity_counts_equal_shares() -> None:
    weights = torch.tensor([[0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
    torch.testing.assert_close(perplexity(weights), torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64))


def test_snr_on_orthogonal_patterns_is_a_ratio_of_squared_weights() -> None:
    weights = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])
    lengths = torch.tensor([1.0, 2.0, 3.0])
    expected = torch.tensor(
        [0.49 / (0.04 * 4 + 0.01 * 9), 0.36 * 9 / (0.01 + 0.09 * 4)],
    )
    torch.testing.assert_close(retrieval_snr(weights, torch.diag(lengths)), expected)


def test_snr_of_a_perfect_recall_is_finite_or_infinite_but_not_undefined() -> None:
    assert not retrieval_snr(torch.eye(3), torch.eye(3)).isnan().any()


def expected_noise(num: int, width: int, beta: float) -> float:
    """Noise over signal of random unit patterns recalled from themselves, in expectation.

    The kernel form of arXiv 2505.19488: (M - 1) E[exp(beta s)^2] / exp(beta)^2 with s = y_i.y_j, where
    E[exp(t s)] = 0F1(; d/2; t^2/4). The cross terms of |r|^2 add (M - 1)(M - 2) E[exp(beta s) s]^2 / exp(beta)^2.
    """

    def mean_exponential(t: float) -> float:
        total, term = 0.0, 1.0
        for n in range(60):
            total += term
            term *= t * t / 4 / ((n + 1) * (width / 2 + n))
        return total

    slope = (mean_exponential(beta + 1e-5) - mean_exponential(beta - 1e-5)) / 2e-5
    terms = (num - 1) * mean_exponential(2 * beta) + (num - 1) * (num - 2) * slope**2
    return math.exp(-2 * beta) * terms


@pytest.mark.parametrize(("beta", "reported"), [(1.0, 5.95), (4.0, 0.038)])
def test_snr_of_random_unit_priors(beta: float, reported: float) -> None:
    noise = torch.empty(400, dtype=torch.float64)
    for draw in range(len(noise)):
        patterns = F.normalize(torch.randn(32, 32, dtype=torch.float64), dim=-1)
        noise[draw] = (1 / retrieval_snr(recall_weights(patterns, patterns, beta), patterns)).mean()
    assert float(noise.mean()) == pytest.approx(expected_noise(32, 32, beta), rel=0.05)
    # One draw of 32 priors, as reported, lies within the spread of draws.
    assert noise.min() < reported < noise.max()
