"""Attention with corrected values in blocks: closed forms, gradients, compiling and exporting."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.layers import Attention
from torch import Tensor

from ait.export import export_onnx, export_program
from ait.memory.delta_attention import orderless_delta_attention
from ait.memory.delta_layer import LARGEST_ERASE, DeltaSelfAttention, sum_of_powers
from tests.ait.conftest import MakeModel


@pytest.fixture
def layer() -> DeltaSelfAttention:
    return DeltaSelfAttention(16, 2, qkv_bias=True).eval()


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(3, 9, 16)


def test_each_head_is_the_orderless_deltaformer(layer: DeltaSelfAttention, tokens: Tensor) -> None:
    with torch.no_grad():
        layer.erase.copy_(torch.tensor([-1.0, 2.0])[:, None, None])
        layer.qkv.weight *= 5
    q, k, v = layer.qkv(tokens).reshape(3, 9, 3, 2, 8).permute(2, 0, 3, 1, 4)
    heads = [
        orderless_delta_attention(
            q[:, h], k[:, h], v[:, h], LARGEST_ERASE * float(layer.erase[h].detach().sigmoid()), 8**0.5
        )
        for h in range(2)
    ]
    torch.testing.assert_close(layer(tokens), layer.proj(torch.cat(heads, dim=-1)), rtol=1e-4, atol=1e-5)


def test_without_erasing_it_is_softmax_attention(layer: DeltaSelfAttention, tokens: Tensor) -> None:
    plain = Attention(16, 2, qkv_bias=True)
    plain.load_state_dict({name: value for name, value in layer.state_dict().items() if name != "erase"})
    with torch.no_grad():
        layer.erase.fill_(-torch.inf)
    torch.testing.assert_close(layer(tokens), plain(tokens))


def test_a_permutation_of_tokens_permutes_the_outputs(layer: DeltaSelfAttention, tokens: Tensor) -> None:
    order = torch.randperm(9)
    torch.testing.assert_close(layer(tokens[:, order]), layer(tokens)[:, order])


def test_a_lone_token_has_nothing_to_erase(layer: DeltaSelfAttention, tokens: Tensor) -> None:
    alone = tokens[:, :1].requires_grad_()
    output = layer(alone)
    torch.testing.assert_close(output, layer.proj(layer.qkv(alone)[..., 32:]))
    output.sum().backward()
    assert alone.grad is not None
    assert alone.grad.isfinite().all()


def test_gradients_are_those_of_finite_differences() -> None:
    layer = DeltaSelfAttention(4, 2).double()
    tokens = torch.randn(1, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, tokens)
    layer(tokens).square().sum().backward()
    assert layer.erase.grad is not None
    assert (layer.erase.grad != 0).all()


# Of each shape another number of squarings saves work; the last has more values than tokens.
@pytest.mark.parametrize(("length", "width"), [(1, 8), (5, 2), (26, 16), (64, 8), (197, 64), (300, 8), (4, 40)])
def test_the_sum_of_powers_inverts(length: int, width: int) -> None:
    matrix = torch.randn(2, length, length, dtype=torch.float64).softmax(-1) * -LARGEST_ERASE
    values = torch.randn(2, length, width, dtype=torch.float64)
    expected = torch.linalg.solve(torch.eye(length, dtype=torch.float64) - matrix, values)
    torch.testing.assert_close(sum_of_powers(matrix, values), expected, rtol=0, atol=5e-6)


@given(terms=st.integers(1, 40), length=st.integers(1, 12), width=st.integers(1, 12))
def test_the_sum_of_powers_has_as_many_terms_as_asked(terms: int, length: int, width: int) -> None:
    nilpotent = torch.ones(length, length, dtype=torch.float64).tril(-1)
    values = torch.ones(length, width, dtype=torch.float64)
    least = sum(torch.linalg.matrix_power(nilpotent, power) @ values for power in range(terms))
    most = sum(torch.linalg.matrix_power(nilpotent, power) @ values for power in range(length))
    found = sum_of_powers(nilpotent, values, terms)
    assert (found >= least).all()
    assert (found <= most).all()


def test_the_backward_pass_is_that_of_the_series(layer: DeltaSelfAttention, tokens: Tensor) -> None:
    # In training the gradients are solved for; in evaluation autograd passes back through each product.
    gradients = []
    for training in (False, True):
        layer.train(training).zero_grad()
        layer(tokens).square().sum().backward()
        gradients.append([parameter.grad.clone() for parameter in layer.parameters() if parameter.grad is not None])
    assert len(gradients[0]) == len(list(layer.parameters()))
    for plain, solved in zip(*gradients, strict=True):
        torch.testing.assert_close(solved, plain, rtol=1e-4, atol=1e-5)


def test_models_have_softmax_attention_unless_asked(make_model: MakeModel, images: Tensor) -> None:
    assert not any(isinstance(module, DeltaSelfAttention) for module in make_model().modules())
    model = make_model(attention="delta").eval()
    assert sum(isinstance(module, DeltaSelfAttention) for module in model.modules()) == 2
    assert {f"blocks.{i}.attn.erase" for i in range(2)} <= model.no_weight_decay()
    assert model(images).isfinite().all()
    with pytest.raises(ValueError, match="attention"):
        make_model(attention="none")


def test_a_model_trains_compiled_as_it_does_eagerly(make_model: MakeModel, images: Tensor) -> None:
    eager, compiled = make_model(attention="delta").train(), make_model(attention="delta").train()
    forward = torch.compile(compiled.forward_training, fullgraph=True, backend="aot_eager")
    eager.forward_training(images).logits.square().sum().backward()
    forward(images).logits.square().sum().backward()
    for (name, expected), found in zip(eager.named_parameters(), compiled.parameters(), strict=True):
        if expected.grad is not None:
            torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-5, msg=name)
    assert compiled.blocks[0].attn.erase.grad.abs().sum() > 0


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
@torch.no_grad()
def test_a_model_is_scripted(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(attention="delta").eval()
    torch.testing.assert_close(torch.jit.script(model)(images), model(images))


@torch.no_grad()
def test_a_model_is_exported(make_model: MakeModel, images: Tensor, tmp_path: Path) -> None:
    model = make_model(attention="delta").eval()
    model.pretrained_cfg = {"input_size": (3, 16, 16), "mean": (0.5,) * 3, "std": (0.5,) * 3, "label_names": "abcde"}
    assert export_program(model, tmp_path / "model.pt2").agreement.same_top_class == 1
    program = torch.export.load(tmp_path / "model.pt2").module()
    torch.testing.assert_close(program(images), model(images), rtol=1e-4, atol=1e-5)
    assert export_onnx(model, tmp_path / "model.onnx").agreement.same_top_class == 1
