"""Frozen layers stay as they are, and only those."""

import pytest
import timm
import torch

from tests.support.models.training_models import small_model
from training.errors import RecipeError
from training.model.freezing import freeze, set_training


def test_layers_are_frozen_by_name_and_by_range() -> None:
    model = small_model("vit_tiny_patch16_224")
    frozen = freeze(model, ["patch_embed", "blocks.0-1", "blocks.2.mlp"])
    assert {name for name, each in model.named_parameters() if not each.requires_grad} == set(frozen)
    assert all(name.startswith(("patch_embed.", "blocks.0.", "blocks.1.", "blocks.2.mlp.")) for name in frozen)
    model(torch.randn(2, 3, 16, 16)).sum().backward()
    assert model.blocks[0].attn.qkv.weight.grad is None
    assert model.blocks[2].attn.qkv.weight.grad is not None


def test_nothing_is_frozen_unless_named() -> None:
    model = small_model("ait_tiny_patch4_32")
    assert freeze(model, []) == []
    assert all(each.requires_grad for each in model.parameters())


def test_ten_is_not_one() -> None:
    model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(12)))
    assert freeze(torch.nn.ModuleDict({"blocks": model}), ["blocks.1"]) == ["blocks.1.weight", "blocks.1.bias"]


@pytest.mark.parametrize(
    ("patterns", "message"),
    [(["patch_embd"], "did you mean 'patch_embed'"), (["blocks.3-9"], "no layer 'blocks.3-9'"), ([""], "no layer ''")],
)
def test_a_layer_that_there_is_not_is_refused(patterns: list[str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        freeze(small_model("vit_tiny_patch16_224"), patterns)


def test_something_must_be_left() -> None:
    model = torch.nn.ModuleDict({"body": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 2)})
    with pytest.raises(RecipeError, match="nothing would be left to train"):
        freeze(model, ["body", "head"])


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norms_may_keep_their_statistics_and_learn_all_the_same(frozen: bool) -> None:
    model = timm.create_model("resnet10t", num_classes=3, zero_init_last=False)
    images = 3 + 5 * torch.randn(4, 3, 16, 16)  # unlike those of the statistics
    expected, before = model.eval()(images), {name: value.clone() for name, value in model.named_buffers()}
    set_training(model, frozen)
    assert model.training
    found = model(images)
    found.sum().backward()
    assert torch.allclose(found, expected, atol=1e-5) is frozen
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers()) is frozen
    assert all(each.weight.grad.any() for each in model.modules() if isinstance(each, torch.nn.BatchNorm2d))
