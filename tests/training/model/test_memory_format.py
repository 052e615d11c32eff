"""Convolutional networks are stored in the order in which processors compute them fast; others stay."""

import timm
import torch

from tests.support.models.training_models import small_vit
from training.model.memory_format import store_channels_last


def test_only_convolutional_networks_change_and_answer_as_before() -> None:
    model = timm.create_model("test_resnet", num_classes=3).eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    expected = model(images)
    store_channels_last(model)
    assert any(parameter.is_contiguous(memory_format=torch.channels_last) for parameter in model.parameters())
    assert not all(parameter.is_contiguous() for parameter in model.parameters())
    torch.testing.assert_close(model(images), expected, rtol=1e-4, atol=1e-5)
    vit = small_vit()
    store_channels_last(vit)
    assert all(parameter.is_contiguous() for parameter in vit.parameters())
