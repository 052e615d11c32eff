"""Self-attention by separate products gives what the fused kernel gives."""

from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import Attention
from torch import Tensor

from ait.self_attention import SelfAttention, products_are_faster

CPU = torch.device("cpu")


def tokens(batch: int, length: int, width: int) -> Tensor:
    return torch.randn(batch, length, width, generator=torch.Generator().manual_seed(0))


def alike(width: int, heads: int) -> tuple[SelfAttention, Attention]:
    """Our attention and timm's, of the same weights."""
    torch.manual_seed(0)
    own, timms = SelfAttention(width, num_heads=heads, qkv_bias=True), Attention(width, num_heads=heads, qkv_bias=True)
    timms.load_state_dict(own.state_dict())
    return own.eval(), timms.eval()


@given(
    batch=st.integers(1, 3),
    length=st.integers(1, 40),
    heads=st.integers(1, 3),
    mask=st.sampled_from(["none", "bool", "added", "causal"]),
    products=st.booleans(),
)
def test_both_ways_give_what_timms_attention_gives(
    batch: int, length: int, heads: int, mask: str, products: bool
) -> None:
    own, timms = alike(8 * heads, heads)
    x = tokens(batch, length, 8 * heads)
    lower = torch.ones(length, length, dtype=torch.bool).tril()
    given = {"bool": lower, "added": torch.zeros(length, length).masked_fill(~lower, -torch.inf)}.get(mask)
    expected = timms(x, attn_mask=given, is_causal=mask == "causal")
    with patch("ait.self_attention.products_are_faster", return_value=products):
        torch.testing.assert_close(own(x, given, mask == "causal"), expected, rtol=1e-4, atol=1e-5)


def test_a_token_that_may_read_nothing_gets_zero_and_teaches_nothing_wrong() -> None:
    own, timms = alike(32, 4)
    mask = torch.ones(6, 6, dtype=torch.bool)
    mask[2] = False
    x = tokens(1, 6, 32).requires_grad_()
    with patch("ait.self_attention.products_are_faster", return_value=True):
        read = own(x, mask)
    torch.testing.assert_close(read, timms(x, attn_mask=mask), rtol=1e-4, atol=1e-5)
    read.sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()


def test_half_precision_learns_what_the_fused_kernel_would_teach() -> None:
    own, timms = alike(48, 3)
    own.train(), timms.train()
    x = tokens(4, 20, 48)
    gradients = []
    for attention in (own, timms):
        attention.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            read = attention(x)
        read.float().square().sum().backward()
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in attention.parameters()]))
    assert float((gradients[0] - gradients[1]).norm() / gradients[1].norm()) < 0.02


def test_attention_weights_are_dropped_in_training_alone() -> None:
    torch.manual_seed(0)
    attention = SelfAttention(32, num_heads=2, attn_drop=0.5)
    x = tokens(2, 10, 32)
    with patch("ait.self_attention.products_are_faster", return_value=True):
        assert not torch.allclose(attention(x), attention(x))
        attention.eval()
        torch.testing.assert_close(attention(x), attention(x), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("dtype", "length", "expected"),
    [
        (torch.bfloat16, 256, True),
        (torch.bfloat16, 257, False),  # the weights would take more memory than an MLP's hidden activations
        (torch.float32, 64, True),
        (torch.float32, 65, False),
    ],
)
def test_products_are_taken_for_short_sequences_on_a_processor(
    dtype: torch.dtype, length: int, expected: bool
) -> None:
    assert products_are_faster(CPU, dtype, length, 64) is expected
    assert not products_are_faster(torch.device("meta"), dtype, length, 64)


def test_torchscript_takes_the_fused_kernel() -> None:
    own, timms = alike(16, 2)
    scripted = torch.jit.script(own)
    assert "scaled_dot_product_attention" in str(scripted.graph)
    x = tokens(2, 9, 16)
    torch.testing.assert_close(scripted(x), timms(x), rtol=1e-4, atol=1e-5)
