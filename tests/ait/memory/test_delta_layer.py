"""Attention with corrected values in blocks: closed forms, gradients, compiling and exporting."""

from pathlib import Path

import pytest
import torch
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


@pytest.mark.parametrize(("length", "width"), [(1, 8), (5, 2), (26, 16), (197, 64), (4, 40)])
def test_the_sum_of_powers_inverts(length: int, width: int) -> None:
    matrix = torch.randn(2, length, length, dtype=torch.float64).softmax(-1) * -LARGEST_ERASE
    values = torch.randn(2, length, width, dtype=torch.float64)
    expected = torch.linalg.solve(torch.eye(length, dtype=torch.float64) - matrix, values)
    torch.testing.assert_close(sum_of_powers(matrix, values), expected, rtol=0, atol=5e-6)


def test_the_sum_of_powers_has_twenty_terms() -> None:
    shift = torch.ones(39, dtype=torch.float64).diag(-1)  # its powers move on by one
    values = torch.eye(40, 1, dtype=torch.float64)
    assert sum_of_powers(shift, values).flatten().tolist() == [1.0] * 20 + [0.0] * 20


@pytest.mark.parametrize("training", [False, True])
def test_tracers_and_transformations_of_functions_follow_it(layer: DeltaSelfAttention, training: bool) -> None:
    layer.train(training)
    plain = {"attn_mask": None, "is_causal": False}
    traced = torch.fx.symbolic_trace(layer, concrete_args=plain)
    free = {"x": {1: torch.export.Dim("tokens", min=2, max=1000)}}
    exported = torch.export.export(layer, (torch.randn(2, 9, 16),), dynamic_shapes=(free["x"],)).module()
    for length in (5, 9, 200):
        tokens = torch.randn(2, length, 16)
        for other in (traced, exported):
            torch.testing.assert_close(other(tokens), layer(tokens), rtol=1e-5, atol=1e-6)
    several = torch.randn(3, 2, 9, 16)
    expected = torch.stack([layer(tokens) for tokens in several])
    torch.testing.assert_close(torch.vmap(layer)(several), expected, rtol=1e-4, atol=1e-6)


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
