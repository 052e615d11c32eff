"""Drop path, layer-wise learning rates, gradient clipping and repeated augmentation do what recipes say."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from timm.layers import DropPath
from torch import Tensor, nn

from training.model.learner import create_model
from training.recipe.keys import ModelRecipe, OptimizerRecipe, Recipe, ScheduleRecipe
from training.run.trainer import train
from training.seeds import epoch_order, repeat_order
from training.step.optimiser import create_optimizer, create_schedule

MODELS = {
    "ait_tiny_patch4_32": {"img_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2},
    "vit_tiny_patch16_224": {"img_size": 16, "patch_size": 4, "embed_dim": 32, "depth": 3, "num_heads": 2},
}


def small_model(name: str, **args: Any) -> Any:
    torch.manual_seed(0)
    return create_model(ModelRecipe(name=name, args=MODELS[name] | args), classes=("ant", "bee", "cat"))


@pytest.mark.parametrize("name", MODELS)
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


@pytest.mark.parametrize("optimizer_name", ["adamw", "muon"])
@pytest.mark.parametrize("name", MODELS)
def test_layer_decay_scales_learning_rates_from_the_head_down(name: str, optimizer_name: str) -> None:
    model = small_model(name)
    optimizer = create_optimizer(model, OptimizerRecipe(name=optimizer_name, lr=0.4, layer_decay=0.5))
    schedule = create_schedule(optimizer, ScheduleRecipe(warmup_epochs=0), 0.4, epochs=2, steps=10)
    for step in (0, 10):
        schedule.step_update(step)
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        by_name = {key: rates[id(parameter)] for key, parameter in model.named_parameters()}
        top = by_name["head.weight"]
        assert top == pytest.approx(0.4 if step == 0 else 0.2)
        for key, rate in by_name.items():
            if key.startswith("blocks."):
                below = len(model.blocks) - int(key.split(".")[1])
            elif key.startswith(("patch_embed", "pos_embed", "cls_token")):
                below = len(model.blocks) + 1
            else:
                # timm counts the last norm to the last block.
                assert key.startswith(("norm.", "head.")), key
                below = int(key.startswith("norm."))
            assert rate == pytest.approx(top * 0.5**below), key


@pytest.mark.parametrize("name", MODELS)
def test_clip_grad_limits_the_step(
    name: str, make_recipe: Callable[..., Recipe], quiet: Console, tmp_path: Any
) -> None:
    def weights_after_one_step(limit: float | None) -> dict[str, Tensor]:
        recipe = make_recipe(
            model={"name": name, "args": MODELS[name]},
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


@given(count=st.integers(0, 60), repeats=st.integers(1, 7), seed=st.integers(0, 99))
@settings(deadline=None)
def test_repeats_come_in_a_row_and_leave_the_length(count: int, repeats: int, seed: int) -> None:
    order = epoch_order(count, seed, 0)
    repeated = repeat_order(order, repeats)
    assert len(repeated) == count
    assert [int(value) for value in repeated] == [int(order[row // repeats]) for row in range(count)]
