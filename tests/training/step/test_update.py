"""An update limits gradients as the recipe says."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import timm
import timm.optim.muon
from rich.console import Console
from torch import Tensor, nn

from tests.support.models.training_models import SMALL_MODELS
from training.recipe.keys import Recipe
from training.run.trainer import train


@pytest.mark.parametrize("name", SMALL_MODELS)
def test_clip_grad_limits_the_step(
    name: str, make_recipe: Callable[..., Recipe], quiet: Console, tmp_path: Any
) -> None:
    def weights_after_one_step(limit: float | None) -> dict[str, Tensor]:
        recipe = make_recipe(
            model={"name": name, "args": SMALL_MODELS[name]},
            optimizer={"name": "momentum", "lr": 1.0, "weight_decay": 0.0},
            schedule={"warmup_epochs": 0},
            epochs=1,
            batch_size=64,
            ema_decay=None,
            clip_grad=limit,
            output=str(tmp_path / f"{name}_{limit}"),
        )
        result = train(recipe, console=quiet)
        model: nn.Module = timm.create_model(f"local-dir:{result.checkpoint}", pretrained=True)
        return {key: value.detach() for key, value in model.named_parameters()}

    # A limit of almost nothing leaves the start.
    start = weights_after_one_step(1e-9)
    lengths = []
    for limit in (0.05, None):
        moved = weights_after_one_step(limit)
        lengths.append(math.sqrt(sum((moved[key] - start[key]).square().sum().item() for key in start)))
    assert lengths[0] == pytest.approx(0.05, rel=1e-2)
    assert lengths[1] > 0.1
