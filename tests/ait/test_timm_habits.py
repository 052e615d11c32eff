"""What users do with timm's ViT works with AiT too, or says why not."""

from typing import Any

import pytest
import timm
import torch
from torch import nn

import ait
from ait.block import AssociativeBlock
from ait.weights import checkpoint_filter_fn
from tests.ait.conftest import MakeModel


def test_a_model_is_built_on_the_meta_device() -> None:
    with torch.device("meta"):
        model = timm.create_model("ait_tiny_patch4_32", drop_path_rate=0.1)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}


def test_dynamic_quantisation_keeps_the_answers(make_model: MakeModel, images: torch.Tensor) -> None:
    model = make_model().eval()
    quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert any("quantized" in type(module).__module__ for module in quantised.modules())
    with torch.no_grad():
        difference = (quantised(images) - model(images)).abs().max()
        assert difference < 0.1 * model(images).abs().max()


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_without_images(training: bool, make_model: MakeModel, images: torch.Tensor) -> None:
    model = make_model().train(training)
    before = model.blocks[0].workspace.memory.priors.clone()
    logits = model(images[:0])
    assert logits.shape == (0, 5)
    logits.sum().backward()
    assert torch.equal(model.blocks[0].workspace.memory.priors, before)
    assert model.train().forward_training(images[:0]).balance_loss.isfinite()


@pytest.mark.filterwarnings("ignore:What was to be written")
def test_an_image_of_nan_does_not_stay_in_the_memory(make_model: MakeModel, images: torch.Tensor) -> None:
    model = make_model().train()
    before = [block.workspace.memory.priors.clone() for block in model.associative_blocks()]
    broken = images.clone()
    broken[0, 0, 0, 0] = torch.nan
    with pytest.warns(UserWarning, match="priors stay as they were"):
        model(broken)
    for block, priors in zip(model.associative_blocks(), before, strict=True):
        assert torch.equal(block.workspace.memory.priors, priors)
    assert model(images).isfinite().all()
    assert not torch.equal(model.blocks[0].workspace.memory.priors, before[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"global_pool": "flat"}, "global_pool='flat' gives all tokens; use 'avg'"),
        ({"head": "linear"}, "create the model with head='associative'"),
        ({"global_pool": "token"}, "no class token"),
        ({"global_pool": "map"}, "no attention pooling"),
    ],
)
def test_weights_of_another_pooling_or_head_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        timm.create_model("ait_tiny_patch4_32", pretrained=True, **arguments)


def test_a_flattened_head_is_refused_where_tokens_are_pooled(make_model: MakeModel) -> None:
    weights = make_model(global_pool="flat").state_dict()
    with pytest.raises(ValueError, match=r"global_pool='flat'.*reset_classifier"):
        checkpoint_filter_fn(weights, make_model(global_pool="avg"))


@pytest.mark.parametrize(
    "arguments",
    [{"img_size": 48}, {"img_size": (32, 64)}, {"patch_size": 8}, {"global_pool": "avg", "num_classes": 5}],
)
def test_weights_are_fitted_where_they_can_be(arguments: dict[str, Any]) -> None:
    model = timm.create_model("ait_tiny_patch4_32", pretrained=True, **arguments)
    size = arguments.get("img_size", 32)
    height, width = size if isinstance(size, tuple) else (size, size)
    assert model.eval()(torch.randn(1, 3, height, width)).shape == (1, arguments.get("num_classes", 10))


def test_class_names_belong_to_weights() -> None:
    def names(**arguments: Any) -> Any:
        return timm.create_model("ait_tiny_patch4_32", **arguments).pretrained_cfg.get("label_names")

    assert names(num_classes=10) is None
    assert names(pretrained=True, num_classes=5) is None
    assert len(names(pretrained=True)) == 10


def test_layers_are_arguments(make_model: MakeModel, images: torch.Tensor) -> None:
    class Block(AssociativeBlock):
        pass

    model = make_model(norm_layer=nn.RMSNorm, act_layer="silu", block_fn=Block)
    assert type(model.blocks[0]) is Block
    assert isinstance(model.blocks[0].norm1, nn.RMSNorm)
    assert isinstance(model.blocks[0].post_norm, nn.RMSNorm)
    assert isinstance(model.norm, nn.RMSNorm)
    assert isinstance(model.blocks[0].mlp.act, nn.SiLU)
    assert model.eval()(images).isfinite().all()
    assert isinstance(make_model(), ait.AssociativeTransformer)
