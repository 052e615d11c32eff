"""DeltaFormer's attention against its recurrence, its special cases and its symmetries."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ait.memory.delta_attention import correct, delta_attention, orderless_delta_attention
from ait.memory.kernels import KERNELS, kernel
from ait.memory.outer_product import recurrent, softmax_cache


def sequence(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    queries, keys, values = (torch.randn(3, *shape, generator=generator, dtype=torch.float64)).unbind(0)
    return F.normalize(queries, dim=-1), F.normalize(keys, dim=-1), values


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(KERNELS), st.sampled_from(KERNELS), st.integers(1, 16), st.integers(0, 99))
def test_matrices_equal_the_recurrence(key_kernel, query_kernel, length, seed) -> None:
    queries, keys, values = sequence(seed, length, 5)
    generator = torch.Generator().manual_seed(seed)
    erase, write = torch.rand(2, length, generator=generator, dtype=torch.float64) / 2
    outputs = delta_attention(
        queries, keys, values, erase=erase, write=write, key_kernel=key_kernel, query_kernel=query_kernel
    )
    corrected: list[torch.Tensor] = []
    for t in range(length):
        u = write[t] * values[t]
        if t:
            u = u - erase[t] * (kernel(keys[t : t + 1], keys[:t], key_kernel) @ torch.stack(corrected))[0]
        corrected.append(u)
        expected = (kernel(queries[t : t + 1], keys[: t + 1], query_kernel) @ torch.stack(corrected))[0]
        torch.testing.assert_close(outputs[t], expected, rtol=1e-9, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["softmax", "linear", "relu"]), st.integers(1, 33), st.integers(1, 40), st.integers(0, 99))
def test_chunked_equals_plain(name, length, chunk, seed) -> None:
    inputs = sequence(seed, 2, 3, length, 6)
    plain = delta_attention(*inputs, key_kernel=name, query_kernel=name)
    chunked = delta_attention(*inputs, key_kernel=name, query_kernel=name, chunk=chunk)
    torch.testing.assert_close(chunked, plain, rtol=1e-10, atol=1e-10)


def test_without_erasing_it_is_attention() -> None:
    inputs = sequence(0, 2, 12, 6)
    torch.testing.assert_close(delta_attention(*inputs, erase=0.0, temperature=0.3), softmax_cache(*inputs, 0.3))


def test_with_linear_kernels_it_is_the_delta_rule() -> None:
    inputs = sequence(1, 2, 30, 6)
    outputs = delta_attention(*inputs, erase=0.8, write=0.8, key_kernel="linear", query_kernel="linear")
    torch.testing.assert_close(outputs, recurrent(*inputs, "delta", rate=0.8)[0], rtol=1e-12, atol=1e-12)


def test_gradients_reach_every_input() -> None:
    inputs = [tensor.requires_grad_() for tensor in sequence(2, 7, 3)]
    erase = torch.full((7,), 0.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda q, k, v, e: delta_attention(q, k, v, erase=e, chunk=3), (*inputs, erase))


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 0.99), st.integers(0, 99))
def test_without_an_order_a_permutation_of_tokens_permutes_outputs(erase, seed) -> None:
    queries, keys, values = sequence(seed, 2, 9, 4)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    outputs = orderless_delta_attention(queries, keys, values, erase)
    permuted = orderless_delta_attention(queries[:, order], keys[:, order], values[:, order], erase)
    torch.testing.assert_close(permuted, outputs[:, order], rtol=1e-9, atol=1e-9)


def test_one_token_without_an_order_keeps_its_value() -> None:
    queries, keys, values = sequence(3, 1, 4)
    torch.testing.assert_close(orderless_delta_attention(queries, keys, values), values)
    torch.testing.assert_close(correct(keys, values), values)


def test_options_out_of_range_are_refused() -> None:
    inputs = sequence(4, 3, 2)
    with pytest.raises(ValueError, match="erase"):
        orderless_delta_attention(*inputs, erase=1.0)
    with pytest.raises(ValueError, match="chunk"):
        delta_attention(*inputs, chunk=0)
    with pytest.raises(ValueError, match="kernel"):
        delta_attention(*inputs, key_kernel="cosine")
