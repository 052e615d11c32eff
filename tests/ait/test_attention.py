"""Bottleneck attention against plain loops."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from ait.attention import BottleneckAttention, _GatherWeighted, bottleneck_gates, cv_squared, largest

seeds = st.integers(0, 2**31)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense(weights: Tensor, index: Tensor, num_tokens: int) -> Tensor:
    """Gates as a dense tensor (H, M, T)."""
    return torch.zeros(*weights.shape[:2], num_tokens, dtype=weights.dtype).scatter(-1, index, weights)


def gates_by_loops(scores: Tensor, bottleneck: int) -> Tensor:
    gates = torch.zeros_like(scores)
    for head in range(scores.shape[0]):
        for prior in range(scores.shape[1]):
            row = scores[head, prior]
            winners = sorted(range(len(row)), key=lambda token: -float(row[token]))[:bottleneck]
            masses = {token: math.exp(float(row[token])) for token in winners}
            for token, mass in masses.items():
                gates[head, prior, token] = mass / sum(masses.values())
    return gates


def uneven(column: Tensor) -> Tensor:
    return column.var(unbiased=False) / (column.mean() ** 2 + 1e-10)


def attend_by_loops(attn: BottleneckAttention, priors: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """The paper's equations, head by head, with dense gates."""
    if attn.centre:
        tokens = tokens - tokens.mean(0)
    width = attn.prior_dim
    read, balance = [], torch.zeros((), dtype=tokens.dtype)
    for head in range(attn.num_heads):
        rows = slice(head * width, (head + 1) * width)
        query, key = priors @ attn.q.weight[rows].mT, tokens @ attn.k.weight[rows].mT
        scores = query @ key.mT / math.sqrt(width)
        if attn.competition:
            scores = scores - scores.logsumexp(0)
        gates = gates_by_loops(scores.detach()[None], attn.bottleneck)[0]
        read.append(gates @ (tokens @ attn.v.weight[rows].mT))
        balance = balance + uneven(gates.sum(0)) + uneven((gates > 0).sum(0).to(gates.dtype))
    return torch.cat(read, dim=1) @ attn.proj.weight.mT, balance


@given(
    seed=seeds,
    heads=st.integers(1, 3),
    priors=st.integers(1, 5),
    tokens=st.integers(1, 12),
    bottleneck=st.integers(1, 14),
)
def test_gates_keep_the_largest_scores_of_each_row(
    seed: int, heads: int, priors: int, tokens: int, bottleneck: int
) -> None:
    scores = 3 * normal(heads, priors, tokens, seed=seed)
    gates = bottleneck_gates(scores, bottleneck)
    kept = dense(gates.weights, gates.winners, tokens)
    torch.testing.assert_close(kept, gates_by_loops(scores, bottleneck))
    assert ((kept > 0).sum(-1) == min(bottleneck, tokens)).all()
    torch.testing.assert_close(kept.sum(-1), torch.ones(heads, priors, dtype=torch.float64))


def test_gates_of_large_scores_stay_finite() -> None:
    gates = bottleneck_gates(1e4 * normal(2, 3, 9).float(), 4)
    assert gates.weights.isfinite().all()
    torch.testing.assert_close(gates.weights.sum(-1), torch.ones(2, 3))


@pytest.mark.parametrize("options", [{"centre": c, "competition": p} for c in (0, 1) for p in (0, 1)], ids=str)
@given(seed=seeds, bottleneck=st.integers(1, 12))
def test_attention_is_its_formula(options: dict[str, Any], seed: int, bottleneck: int) -> None:
    attn = BottleneckAttention(7, 4, 3, bottleneck, **options).double()
    priors, tokens = normal(5, 4, seed=seed), 2 * normal(10, 7, seed=seed + 1) + 1
    for index, parameter in enumerate(attn.parameters()):
        parameter.data = normal(*parameter.shape, seed=seed + 2 + index) / 2
    target, balance = attn(priors, tokens)
    expected, expected_balance = attend_by_loops(attn, priors, tokens)
    torch.testing.assert_close(target.double(), expected, rtol=2e-4, atol=2e-4)
    torch.testing.assert_close(balance.double(), expected_balance, rtol=1e-4, atol=1e-5)


def test_the_order_of_tokens_in_the_batch_does_not_matter() -> None:
    attn = BottleneckAttention(7, 4, 3, 5)
    priors, tokens = normal(5, 4).float(), normal(20, 7, seed=1).float()
    shuffled = tokens[torch.randperm(20)]
    for one, other in zip(attn(priors, tokens), attn(priors, shuffled), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_centring_ignores_what_all_tokens_share() -> None:
    attn = BottleneckAttention(7, 4, 3, 5, centre=True)
    priors, tokens = normal(5, 4).float(), normal(20, 7, seed=1).float()
    for one, other in zip(attn(priors, tokens), attn(priors, tokens + 3), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_balance_is_zero_when_all_tokens_are_read_alike() -> None:
    attn = BottleneckAttention(7, 4, 3, 20)
    torch.testing.assert_close(attn(normal(5, 4).float(), torch.ones(20, 7))[1], torch.zeros(()), atol=1e-6, rtol=0)


@pytest.mark.parametrize("competition", [False, True])
def test_target_and_balance_pass_gradients_to_every_weight(competition: bool) -> None:
    attn = BottleneckAttention(7, 4, 3, 5, competition=competition)
    target, balance = attn(normal(5, 4).float(), normal(20, 7, seed=1).float())
    target.square().sum().backward(retain_graph=True)
    assert all(p.grad is not None and p.grad.any() for p in attn.parameters())
    attn.zero_grad()
    balance.backward()
    assert attn.q.weight.grad is not None
    assert attn.q.weight.grad.any()


class Products(TorchDispatchMode):
    """Notes the types of the products that a side of `size` takes part in."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.types = size, set[torch.dtype]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default) and any(self.size in a.shape for a in args):
            self.types |= {each.dtype for each in args}
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("options", [{"centre": c, "competition": p} for c in (0, 1) for p in (0, 1)], ids=str)
def test_under_autocast_products_with_tokens_are_in_half_precision_and_near_float32(options: dict[str, Any]) -> None:
    attn = BottleneckAttention(48, 8, 3, 25, **options)  # all tokens win: which of equal scores does is chance
    priors, tokens = normal(5, 8).float(), (normal(25, 48, seed=1) + 0.5).float().requires_grad_()
    upstream, found = normal(5, 8, seed=2).float(), []
    for half in (False, True):
        with Products(size=25) as products:
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
                target, balance = attn(priors, tokens)
            gradients = torch.autograd.grad((target * upstream).sum() + balance, [tokens, *attn.parameters()])
        assert products.types == {torch.bfloat16 if half else torch.float32}
        assert {each.dtype for each in (target, balance, *gradients)} == {torch.float32}
        found.append([target, balance, *gradients])
    for exact, rough in zip(*found, strict=True):
        assert (rough - exact).norm() <= 0.03 * exact.norm()


def gathered(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    index = normal(2, 3, 6, seed=seed).topk(4).indices
    return normal(2, 3, 4, seed=seed + 1).requires_grad_(), index, normal(6, 5, seed=seed + 2).requires_grad_()


@given(seed=seeds)
def test_gathered_sums_equal_dense_products(seed: int) -> None:
    weights, index, rows = gathered(seed)
    sparse, expected = _GatherWeighted.apply(weights, index, rows), dense(weights, index, 6) @ rows
    torch.testing.assert_close(sparse, expected)
    upstream = normal(2, 3, 5, seed=seed)
    torch.testing.assert_close(
        torch.autograd.grad(sparse, (weights, rows), upstream),
        torch.autograd.grad(expected, (weights, rows), upstream),
    )


def test_gathered_sums_pass_gradcheck() -> None:
    assert torch.autograd.gradcheck(_GatherWeighted.apply, gathered(0))


@given(values=st.lists(st.floats(0.1, 9), min_size=1, max_size=9))
def test_cv_squared_is_variance_over_squared_mean(values: list[float]) -> None:
    column = torch.tensor(values, dtype=torch.float64)
    measured = cv_squared(column.sum(), column.square().sum(), torch.tensor(len(values)))
    torch.testing.assert_close(measured, uneven(column), atol=1e-9, rtol=1e-6)


@pytest.mark.parametrize("wrong", [{"bottleneck": 0}, {"num_heads": 0}], ids=str)
def test_bad_settings_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        BottleneckAttention(7, **wrong)


def test_dropout_of_the_gates_thins_what_is_read_in_training_alone() -> None:
    attn, plain = (BottleneckAttention(7, 4, 3, 5, attn_drop=rate) for rate in (0.5, 0.0))
    plain.load_state_dict(attn.state_dict())
    priors, tokens = normal(5, 4).float(), normal(20, 7, seed=1).float()
    expected, balance = plain(priors, tokens)
    torch.testing.assert_close(attn.eval()(priors, tokens)[0], expected)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        read = torch.stack([attn.train()(priors, tokens)[0] for _ in range(300)])
        assert attn(priors, tokens)[1] == balance  # of the gates as they are
    assert read.std(0).min() > 0
    torch.testing.assert_close(read.mean(0), expected, rtol=0.2, atol=0.1)
    # What all tokens share stays out, with rows that do not sum to one.
    found = []
    for moved in (tokens, tokens + 3):
        with torch.random.fork_rng():
            torch.manual_seed(1)
            found.append(attn(priors, moved)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


@given(
    seed=seeds,
    rows=st.integers(1, 4),
    tokens=st.integers(1, 40),
    share=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64, torch.bfloat16]),
)
def test_the_largest_are_those_of_top_k(seed: int, rows: int, tokens: int, share: float, dtype: torch.dtype) -> None:
    scores = normal(rows, tokens, seed=seed).to(dtype)
    count = round(share * tokens)
    chosen = scores.gather(-1, largest(scores, count)).sort(-1).values
    torch.testing.assert_close(chosen, scores.topk(count, dim=-1).values.sort(-1).values, rtol=0, atol=0)


def test_the_largest_are_found_within_transformations_and_by_whoever_follows() -> None:
    def chosen(scores: Tensor) -> Tensor:
        return scores.gather(-1, largest(scores, 3)).sort(-1).values

    first, second = normal(2, 4, 9, seed=0), normal(2, 4, 9, seed=1)
    expected = chosen(second)
    for followed in (
        torch.vmap(chosen),
        torch.jit.trace(chosen, first),
        make_fx(chosen)(first),
        make_fx(chosen, tracing_mode="fake")(first),
    ):
        torch.testing.assert_close(followed(second), expected, rtol=0, atol=0)
    assert chosen(first.to("meta")).shape == expected.shape
