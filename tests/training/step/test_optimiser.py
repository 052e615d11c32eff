"""Optimisers are timm's, with the right decay and learning rate for each parameter and step."""

import itertools

import pytest
import timm
import timm.optim.muon
import torch
from torch import nn

from tests.support.models.training_models import SMALL_MODELS, small_model, small_vit
from training.errors import RecipeError
from training.recipe.keys import OptimizerRecipe, ScheduleRecipe
from training.step.optimiser import create_optimizer, create_schedule, float32_newton_schulz


@pytest.mark.parametrize("name", ["adamw", "muon", "nmuon", "sgd", "lion"])
def test_norms_and_biases_are_not_decayed(name: str) -> None:
    model = small_vit()
    optimizer = create_optimizer(model, OptimizerRecipe(name=name, lr=0.1, weight_decay=0.3))
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for key, parameter in model.named_parameters():
        kept = parameter.ndim == 1 or key in model.no_weight_decay()
        assert (id(parameter) in decayed) is not kept, key


def test_optimizer_arguments_reach_timm() -> None:
    recipe = OptimizerRecipe(name="muon", args={"fallback_list": ["head*"], "fallback_lr_scale": 0.5})
    optimizer = create_optimizer(small_vit(), recipe)
    assert all(group["fallback_lr_scale"] == 0.5 for group in optimizer.param_groups)
    assert any(group.get("use_fallback") for group in optimizer.param_groups)
    with pytest.raises(RecipeError, match="optimizer 'adamw'"):
        create_optimizer(small_vit(), OptimizerRecipe(name="adamw", args={"no_such": 1}))
    with pytest.raises(RecipeError, match="optimizer 'adahessian' needs second derivatives"):
        create_optimizer(small_vit(), OptimizerRecipe(name="adahessian"))


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_schedule_warms_up_and_decays_with_every_update(kind: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    recipe = ScheduleRecipe.model_validate({"kind": kind, "warmup_epochs": 0.5, "min_lr": 0.01})
    schedule = create_schedule(optimizer, recipe, 0.4, epochs=10, steps=20)
    rates = []
    for step in range(200):
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert 0 < rates[0] < rates[5] < rates[9]
    assert max(rates) == pytest.approx(0.4, rel=0.06)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[11:]))
    assert rates[-1] == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_the_warm_up_starts_where_it_is_said(kind: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-4)
    recipe = ScheduleRecipe.model_validate({"kind": kind, "warmup_epochs": 1, "warmup_lr": 1e-5, "min_lr": 1e-6})
    schedule = create_schedule(optimizer, recipe, 1e-4, epochs=5, steps=10)
    rates = []
    for step in range(11):
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates[0] == pytest.approx(1e-5)
    assert rates[5] == pytest.approx(5.5e-5)
    assert rates[10] == pytest.approx(1e-4, rel=0.25)
    for wrong in ({"warmup_epochs": 0, "warmup_lr": 1e-5}, {"warmup_epochs": 1, "warmup_lr": 1e-3}):
        with pytest.raises(RecipeError, match=r"schedule\.warmup_lr"):
            create_schedule(optimizer, ScheduleRecipe.model_validate(wrong), 1e-4, epochs=5, steps=10)


@pytest.mark.parametrize("optimizer_name", ["adamw", "muon"])
@pytest.mark.parametrize("name", SMALL_MODELS)
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


def test_newton_schulz_is_float32_within_and_restored_after() -> None:
    module = timm.optim.muon
    original = module.zeropower_via_newtonschulz
    gradient = torch.randn(8, 8)
    coefficients = [(3.4445, -4.7750, 2.0315)]
    assert module.zeropower_via_newtonschulz(gradient, 5, coefficients).dtype == torch.bfloat16
    with float32_newton_schulz():
        assert module.zeropower_via_newtonschulz(gradient, 5, coefficients).dtype == torch.float32
    assert module.zeropower_via_newtonschulz is original
    with pytest.raises(AssertionError), float32_newton_schulz():
        module.zeropower_via_newtonschulz(torch.zeros(1), 5, coefficients)
    assert module.zeropower_via_newtonschulz is original
