"""Matrix memories: the parallel form is the recurrent one, and each rule does what it is for."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ait.memory.outer_product import RULES, parallel, recurrent, softmax_cache


def sequence(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries, keys, values = (torch.randn(3, *shape, generator=generator, dtype=torch.float64)).unbind(0)
    return queries, F.normalize(keys, dim=-1), values


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(RULES),
    st.integers(1, 40),
    st.integers(1, 12),
    st.floats(0.05, 1),
    st.floats(0.5, 1),
    st.integers(0, 99),
)
def test_parallel_equals_recurrent(rule, length, dim, rate, retention, seed) -> None:
    inputs = sequence(seed, 2, length, dim)
    for one, other in zip(
        parallel(*inputs, rule, rate, retention), recurrent(*inputs, rule, rate, retention), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99))
def test_delta_holds_the_latest_value_of_a_key_exactly(seed) -> None:
    _, keys, values = sequence(seed, 20, 8)
    outputs, _ = parallel(keys, keys, values, "delta")
    torch.testing.assert_close(outputs, values)


def test_rules_are_one_family() -> None:
    inputs = sequence(0, 16, 6)
    hebbian = parallel(*inputs, "hebbian")[0]
    torch.testing.assert_close(parallel(*inputs, "decay", retention=1.0)[0], hebbian)
    delta = parallel(*inputs, "delta", rate=0.7)[0]
    torch.testing.assert_close(parallel(*inputs, "gated_delta", rate=0.7, retention=1.0)[0], delta)
    _, _, values = inputs
    torch.testing.assert_close(
        parallel(*inputs, "ewma", rate=0.1)[0], 0.1 * parallel(*inputs, "decay", retention=0.9)[0]
    )
    # Orthonormal keys hold nothing of each other: there is nothing to erase.
    keys = torch.eye(16, dtype=torch.float64)
    torch.testing.assert_close(parallel(keys, keys, values, "delta")[0], parallel(keys, keys, values, "hebbian")[0])


def test_the_softmax_cache_is_attention_over_the_past() -> None:
    queries, keys, values = sequence(1, 9, 4)
    outputs = softmax_cache(queries, keys, values, temperature=0.5)
    for t in range(9):
        weights = torch.softmax(queries[t] @ keys[: t + 1].mT / 0.5, dim=-1)
        torch.testing.assert_close(outputs[t], weights @ values[: t + 1])


@pytest.mark.parametrize("form", [parallel, recurrent])
@pytest.mark.parametrize(
    "options", [{"rule": "oja"}, {"rule": "delta", "rate": 0.0}, {"rule": "decay", "retention": 2.0}]
)
def test_options_out_of_range_are_refused(form, options) -> None:
    with pytest.raises(ValueError, match=r".+"):
        form(*sequence(0, 2, 2), **options)
