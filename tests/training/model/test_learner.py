"""Models are made as the recipe says."""

from typing import Any

import pytest
import torch
from timm.layers import DropPath
from torch import Tensor

from tests.support.models.training_models import SMALL_MODELS, small_model


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_drop_path_grows_with_depth_and_drops_in_training_alone(name: str) -> None:
    model = small_model(name, drop_path_rate=0.5)
    rates = [
        {module.drop_prob for module in block.modules() if isinstance(module, DropPath)} for block in model.blocks
    ]
    assert rates == [set(), {0.25}, {0.5}]
    images = torch.randn(4, 3, 16, 16)
    model.eval()
    assert torch.equal(model(images), model(images))
    plain = small_model(name).eval()
    assert torch.equal(plain(images), model(images))

    # In training a forward pass may also write buffers, so each starts from a copy of the same model.
    def forward(seed: int, **args: Any) -> Tensor:
        fresh = small_model(name, **args).train()
        torch.manual_seed(seed)
        return fresh(images).detach()

    assert torch.equal(forward(1), forward(2))
    assert not torch.equal(forward(1, drop_path_rate=0.5), forward(2, drop_path_rate=0.5))
