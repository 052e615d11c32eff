"""Energies and retrieval: descent, bounds, and the equality of token space and prior space."""

import math
from copy import deepcopy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ait.memory import HopfieldRetrieval, energy, recall_weights, retrieve
from ait.memory.hopfield import KERNELS

seeds = st.integers(0, 2**31)
betas = st.floats(0.05, 20)
kernels = pytest.mark.parametrize("kernel", KERNELS)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@kernels
@given(seed=seeds, num=st.integers(1, 9), width=st.integers(1, 6), beta=betas, spread=st.floats(0.1, 3))
def test_no_retrieval_step_raises_its_energy(
    kernel: str, seed: int, num: int, width: int, beta: float, spread: float
) -> None:
    query, patterns = normal(5, width, seed=seed), spread * normal(num, width, seed=seed + 1)
    before = energy(query, patterns, beta, kernel)
    for _ in range(4):
        query = retrieve(query, patterns, beta, kernel)
        after = energy(query, patterns, beta, kernel)
        assert (after <= before + 1e-8 * (1 + before.abs())).all()
        before = after


@kernels
@given(seed=seeds, beta=betas)
def test_a_step_descends_the_gradient_of_the_energy(kernel: str, seed: int, beta: float) -> None:
    query, patterns = normal(4, 3, seed=seed).requires_grad_(), normal(6, 3, seed=seed + 1)
    (slope,) = torch.autograd.grad(energy(query, patterns, beta, kernel).sum(), query)
    step = retrieve(query, patterns, beta, kernel) - query
    if kernel == "d1":
        distance = torch.cdist(query, patterns)
        step = step * (torch.softmax(-beta * distance, -1) / distance).sum(-1, keepdim=True)
    torch.testing.assert_close(step, -slope, rtol=1e-6, atol=1e-8)


@given(seed=seeds, num=st.integers(1, 9), beta=betas)
def test_distance_energy_lies_under_the_distance_to_the_nearest_pattern(seed: int, num: int, beta: float) -> None:
    query, patterns = normal(5, 4, seed=seed), normal(num, 4, seed=seed + 1)
    nearest = torch.cdist(query, patterns).amin(-1)
    value = energy(query, patterns, beta, "d1")
    assert (value <= nearest + 1e-9).all()
    assert (value >= nearest - math.log(num) / beta - 1e-9).all()


@given(seed=seeds, num=st.integers(1, 9), beta=betas, length=st.floats(0.2, 3))
def test_dot_product_and_distance_agree_on_patterns_of_equal_norm(
    seed: int, num: int, beta: float, length: float
) -> None:
    query, patterns = normal(5, 4, seed=seed), length * F.normalize(normal(num, 4, seed=seed + 1), dim=-1)
    torch.testing.assert_close(
        recall_weights(query, patterns, beta, "dot"), recall_weights(query, patterns, beta, "d2")
    )
    torch.testing.assert_close(
        energy(query, patterns, beta, "d2"), energy(query, patterns, beta, "dot") - math.log(num) / beta
    )


def test_dot_energy_is_never_negative() -> None:
    query, patterns = normal(200, 4, seed=0), normal(7, 4, seed=1)
    assert (energy(query, patterns, 0.7, "dot") >= 0).all()


@kernels
@given(seed=seeds, beta=betas, num=st.integers(1, 9))
def test_recall_weights_are_distributions(kernel: str, seed: int, beta: float, num: int) -> None:
    weights = recall_weights(normal(2, 3, 4, seed=seed), normal(num, 4, seed=seed + 1), beta, kernel)
    assert weights.shape == (2, 3, num)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3, dtype=torch.float64))


@kernels
def test_sharp_retrieval_recalls_the_stored_pattern_from_a_noisy_one(kernel: str) -> None:
    patterns = F.normalize(normal(8, 16, seed=0), dim=-1)
    noisy = patterns + 0.02 * normal(8, 16, seed=1)
    torch.testing.assert_close(retrieve(noisy, patterns, 60.0, kernel, steps=3), patterns, atol=1e-3, rtol=0)


@kernels
def test_steps_compose(kernel: str) -> None:
    query, patterns = normal(5, 4, seed=0), normal(6, 4, seed=1)
    once = retrieve(query, patterns, 2.0, kernel)
    torch.testing.assert_close(
        retrieve(once, patterns, 2.0, kernel, steps=2), retrieve(query, patterns, 2.0, kernel, steps=3)
    )


@kernels
def test_a_query_on_a_pattern_has_finite_energy_recall_and_gradient(kernel: str) -> None:
    patterns = normal(4, 3, seed=0)
    query = patterns.clone().requires_grad_()
    total = energy(query, patterns, 3.0, kernel).sum() + retrieve(query, patterns, 3.0, kernel, 2).sum()
    total.backward()
    assert total.isfinite()
    assert query.grad is not None
    assert query.grad.isfinite().all()


@kernels
@given(seed=seeds, beta=betas, steps=st.integers(1, 3), num=st.integers(1, 9))
def test_retrieval_in_prior_space_equals_token_space(
    kernel: str, seed: int, beta: float, steps: int, num: int
) -> None:
    retrieval = HopfieldRetrieval(12, 5, kernel, beta, steps=steps, dtype=torch.float64)
    with torch.no_grad():
        retrieval.proj.weight.copy_(normal(12, 5, seed=seed))
    tokens, priors = normal(2, 3, 12, seed=seed + 1), F.normalize(normal(num, 5, seed=seed + 2), dim=-1)
    patterns = retrieval.patterns(priors)
    retrieved, weights = retrieval(tokens, priors)
    torch.testing.assert_close(retrieved, retrieve(tokens, patterns, beta, kernel, steps), rtol=1e-6, atol=1e-6)
    last = retrieve(tokens, patterns, beta, kernel, steps - 1)
    torch.testing.assert_close(weights, recall_weights(last, patterns, beta, kernel), rtol=1e-5, atol=1e-6)
    assert torch.equal(retrieval.weights(tokens, priors), weights)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@kernels
def test_models_in_half_precision_recall_as_in_float32(kernel: str, dtype: torch.dtype) -> None:
    retrieval = HopfieldRetrieval(192, 8, kernel, beta=4.0)
    tokens = F.layer_norm(normal(5, 192, seed=0).float(), (192,))
    priors = F.normalize(normal(6, 8, seed=1).float(), dim=-1)
    for steps in (1, 2):
        retrieval.steps = steps
        with torch.no_grad():
            expected = retrieval.weights(tokens, priors)
            retrieved, weights = deepcopy(retrieval).to(dtype)(tokens.to(dtype), priors)
        assert retrieved.dtype == dtype
        difference, spread = weights.float() - expected, expected - expected.mean(-1, keepdim=True)
        assert difference.norm() < 0.05 * spread.norm()


@kernels
def test_every_part_of_retrieval_has_a_gradient(kernel: str) -> None:
    retrieval = HopfieldRetrieval(6, 3, kernel, 1.5, learn_beta=True, steps=2, dtype=torch.float64)
    tokens, priors = normal(4, 6, seed=0).requires_grad_(), normal(5, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t, p: retrieval(t, p), (tokens, priors))
    retrieval(tokens, priors)[0].square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in retrieval.parameters())


def test_learned_beta_starts_where_it_is_set_and_stays_positive() -> None:
    retrieval = HopfieldRetrieval(6, 3, beta=2.5, learn_beta=True)
    torch.testing.assert_close(retrieval.beta(), torch.tensor(2.5))
    with torch.no_grad():
        retrieval.log_beta.fill_(-9)
    assert retrieval.beta() > 0


def test_patterns_start_as_distinct_as_the_priors() -> None:
    retrieval = HopfieldRetrieval(12, 5)
    priors = normal(7, 5, seed=0).float()
    patterns = retrieval.patterns(priors)
    torch.testing.assert_close(patterns @ patterns.mT, priors @ priors.mT)


@pytest.mark.parametrize("wrong", [{"kernel": "cosine"}, {"beta": 0.0}, {"beta": -1.0}, {"steps": 0}], ids=str)
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        HopfieldRetrieval(6, 3, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [energy, recall_weights, retrieve])
def test_unknown_kernel_names_the_known_ones(function) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="dot, d2, d1"):
        function(torch.zeros(1, 2), torch.zeros(3, 2), 1.0, "cosine")
