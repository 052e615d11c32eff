"""The write rules, the flat spectrum of write targets, and the buffer of priors."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ait.memory import WRITE_RULES, ExplicitMemory
from ait.memory.capacity import effective_rank
from ait.memory.explicit import orthogonalise, write

seeds = st.integers(0, 2**31)


def unit_rows(rows: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(rows, width, generator=generator, dtype=torch.float64), dim=-1)


def write_by_loops(priors: Tensor, target: Tensor, rule: str, rate: float, retention: float) -> Tensor:
    rows = []
    for prior, wanted in zip(priors, target, strict=True):
        overlaps = [8 * float(wanted @ other) for other in priors]
        masses = [math.exp(overlap - max(overlaps)) for overlap in overlaps]
        held = sum(mass / sum(masses) * other for mass, other in zip(masses, priors, strict=True))
        row = {
            "ewma": prior + rate * (wanted - prior),
            "hebbian": prior + rate * wanted,
            "decay": retention * prior + rate * wanted,
            "delta": prior + rate * wanted - rate * held,
            "gated_delta": retention * prior + rate * wanted - rate * retention * held,
        }[rule]
        rows.append(row / math.sqrt(float(row @ row)))
    return torch.stack(rows)


@pytest.mark.parametrize("rule", WRITE_RULES)
@given(seed=seeds, num=st.integers(1, 7), width=st.integers(2, 9), rate=st.floats(0.01, 1), keep=st.floats(0.01, 1))
def test_write_rule_is_its_formula(rule: str, seed: int, num: int, width: int, rate: float, keep: float) -> None:
    priors, target = unit_rows(num, width, seed), unit_rows(num, width, seed + 1)
    written = write(priors, target, rule, rate, keep)
    torch.testing.assert_close(written, write_by_loops(priors, target, rule, rate, keep), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(written.norm(dim=-1), torch.ones(num, dtype=torch.float64))


@pytest.mark.parametrize("rule", WRITE_RULES)
def test_write_passes_the_gradient_to_target_and_priors(rule: str) -> None:
    priors, target = unit_rows(3, 4, 0).requires_grad_(), unit_rows(3, 4, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: write(p, t, rule, 0.3, 0.8), (priors, target))


def test_delta_adds_nothing_where_the_memory_holds_the_target() -> None:
    priors = torch.eye(2, dtype=torch.float64)[:1]
    torch.testing.assert_close(write(priors, priors, "delta", 0.5, 1.0), priors)


@given(seed=seeds, num=st.integers(3, 40), width=st.integers(3, 40))
def test_orthogonalised_rows_are_unit_with_a_flat_spectrum(seed: int, num: int, width: int) -> None:
    target = orthogonalise(unit_rows(num, width, seed) * 3, steps=40)
    torch.testing.assert_close(target.norm(dim=-1), torch.ones(num, dtype=torch.float64))
    # Rows are rescaled after the steps, which unbalances short spectra a little.
    assert effective_rank(target) > 0.85 * min(num - 1, width)


def test_orthogonalisation_raises_the_rank_of_collapsed_targets() -> None:
    collapsed = unit_rows(1, 32, 0) + 0.05 * unit_rows(32, 32, 1) * torch.logspace(0, -0.5, 32).double()
    assert effective_rank(F.normalize(collapsed, dim=-1)) < 1.5
    assert effective_rank(orthogonalise(collapsed)) > 20


def test_orthogonalisation_keeps_an_orthogonal_simplex() -> None:
    corners = torch.eye(5, dtype=torch.float64) - 1 / 5
    torch.testing.assert_close(orthogonalise(corners, steps=30), F.normalize(corners, dim=-1))


def test_orthogonalisation_is_differentiable() -> None:
    target = torch.randn(4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(orthogonalise, (target.requires_grad_(),))


@pytest.mark.parametrize(
    "target",
    [
        torch.zeros(6, 4),
        torch.full((6, 4), 0.3),
        torch.arange(1.0, 7.0).unsqueeze(1) * torch.ones(4),
        torch.eye(4)[[0, 0, 1, 1, 2, 2]],
    ],
    ids=["zero", "all-equal", "rank-one", "repeated"],
)
def test_degenerate_targets_leave_finite_unit_priors_and_finite_gradients(target: Tensor) -> None:
    target = target.clone().requires_grad_()
    priors = write(unit_rows(6, 4, 0).float(), orthogonalise(target), "ewma", 0.1, 1.0)
    torch.testing.assert_close(priors.norm(dim=-1), torch.ones(6))
    priors.square().cumsum(0).sum().backward()
    assert target.grad is not None
    assert target.grad.isfinite().all()


def test_memory_proposes_inside_the_graph_and_commits_outside_of_it() -> None:
    memory = ExplicitMemory(4, 3)
    before = memory.priors.clone()
    target = unit_rows(4, 3, 0).float().requires_grad_()
    proposed = memory.propose(memory.priors, target)
    assert proposed.requires_grad
    assert torch.equal(memory.priors, before)
    memory(proposed)
    assert torch.equal(memory.priors, proposed)
    assert not memory.priors.requires_grad


def test_priors_are_a_float32_buffer_of_unit_rows() -> None:
    memory = ExplicitMemory(5, 7)
    assert list(memory.parameters()) == []
    assert dict(memory.named_buffers()).keys() == {"priors"}
    assert memory.priors.dtype == torch.float32
    torch.testing.assert_close(memory.priors.norm(dim=-1), torch.ones(5))


@pytest.mark.parametrize(
    "wrong",
    [
        {"write_rule": "oja"},
        {"write_rate": 0.0},
        {"write_rate": 1.5},
        {"retention": 0.0},
        {"num_priors": 0},
        {"prior_dim": 0},
    ],
    ids=str,
)
def test_bad_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", "[_ ]")):
        ExplicitMemory(**wrong)  # type: ignore[arg-type]


def test_unknown_rule_names_the_known_ones() -> None:
    priors = unit_rows(2, 2, 0)
    with pytest.raises(ValueError, match="gated_delta"):
        write(priors, priors, "oja", 0.1, 0.9)
