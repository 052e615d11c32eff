"""Attention layers of timm's models are switched where torch's fused kernel is slow, and answer as before."""

import timm
import torch

from ait.associative_transformer import AssociativeTransformer
from tests.support.models.training_models import small_vit
from training.model.plain_attention import take_plain_attention


def fused(model: torch.nn.Module) -> list[bool]:
    return [layer.fused_attn for layer in model.modules() if hasattr(layer, "fused_attn")]


def test_a_vit_of_few_tokens_is_switched_and_answers_as_before() -> None:
    model = small_vit().train()
    side = model.patch_embed.img_size[0]
    images = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(0))
    expected = model.eval()(images)
    model.train()
    layers = len(fused(model))
    assert take_plain_attention(model, images[:1], dtype=torch.bfloat16) == layers > 0
    assert not any(fused(model))
    assert model.training
    torch.testing.assert_close(model.eval()(images), expected, rtol=1e-4, atol=1e-5)


def test_long_sequences_stay_with_the_kernel_that_spares_memory() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=64, patch_size=2, depth=1, num_heads=12)
    assert take_plain_attention(model, torch.zeros(1, 3, 64, 64), dtype=torch.bfloat16) == 0
    assert all(fused(model))


def test_models_without_such_layers_are_not_run() -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the model ran")

    model = timm.create_model("test_resnet")
    model.register_forward_pre_hook(fail)
    assert take_plain_attention(model, torch.zeros(1, 3, 64, 64), dtype=torch.bfloat16) == 0


def test_a_memory_that_is_written_in_evaluation_stays_as_it_is() -> None:
    torch.manual_seed(0)
    model = AssociativeTransformer(
        16, 4, num_classes=3, embed_dim=24, depth=1, num_heads=2, memory_args={"adaptive": True, "num_priors": 4}
    )
    model.blocks[0].attn = timm.layers.Attention(24, num_heads=2)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert take_plain_attention(model, torch.ones(1, 3, 16, 16), dtype=torch.bfloat16) == 1
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
