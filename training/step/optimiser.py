"""The optimiser and the schedule, both timm's."""

import functools
from collections.abc import Iterator
from contextlib import contextmanager

import timm.optim
import timm.optim.muon
import torch
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.scheduler.poly_lr import PolyLRScheduler
from timm.scheduler.scheduler import Scheduler
from torch import nn
from torch.optim import Optimizer

from training.errors import RecipeError
from training.recipe.keys import OptimizerRecipe, ScheduleRecipe


def create_optimizer(model: nn.Module, recipe: OptimizerRecipe) -> Optimizer:
    """Create a timm optimiser over a model's parameters; norms, biases and `no_weight_decay` are not decayed.

    Args:
        model: Whose parameters are optimised.
        recipe: The section `optimizer` of a recipe.

    Raises:
        RecipeError: The optimiser is unknown, refuses its arguments or needs second derivatives.
    """
    try:
        optimizer: Optimizer = timm.optim.create_optimizer_v2(
            model,
            opt=recipe.name,
            lr=recipe.lr,
            weight_decay=recipe.weight_decay,
            layer_decay=recipe.layer_decay,
            **recipe.args,
        )
    except (AssertionError, TypeError, ValueError) as error:
        raise RecipeError(f"optimizer {recipe.name!r}: {error}") from error
    if getattr(optimizer, "is_second_order", False):
        raise RecipeError(f"optimizer {recipe.name!r} needs second derivatives, which no run computes; try 'adamw'")
    return optimizer


def create_schedule(optimizer: Optimizer, recipe: ScheduleRecipe, lr: float, epochs: int, steps: int) -> Scheduler:
    """Create the schedule that sets the learning rate as a function of the update's number.

    Call its ``step_update(n)`` before update n, counted from 0; it holds no other state.

    Args:
        optimizer: Whose learning rates are set.
        recipe: The section `schedule` of a recipe: shape, warm-up and end.
        lr: Peak learning rate.
        epochs: Length of the run.
        steps: Updates per epoch.

    Raises:
        RecipeError: The warm-up is longer than the run, or its first learning rate is above the peak, or is given and
            there is no warm-up.
    """
    if recipe.warmup_epochs and recipe.warmup_epochs >= epochs:
        raise RecipeError(f"schedule.warmup_epochs ({recipe.warmup_epochs:g}) must be less than epochs ({epochs})")
    warmup = round(recipe.warmup_epochs * steps)
    # The first update already moves: a warm-up from zero would waste it.
    start = lr / (warmup + 1) if recipe.warmup_lr is None else recipe.warmup_lr
    if recipe.warmup_lr is not None and (not warmup or start > lr):
        raise RecipeError(
            f"schedule.warmup_lr ({start:g}) needs schedule.warmup_epochs, and at most optimizer.lr ({lr:g})"
        )
    if recipe.kind == "linear":
        return PolyLRScheduler(
            optimizer,
            t_initial=epochs * steps,
            power=1.0,
            lr_min=recipe.min_lr,
            warmup_t=warmup,
            warmup_lr_init=start,
            t_in_epochs=False,
        )
    return CosineLRScheduler(
        optimizer,
        t_initial=epochs * steps,
        lr_min=recipe.min_lr,
        warmup_t=warmup,
        warmup_lr_init=start,
        t_in_epochs=False,
    )


@contextmanager
def float32_newton_schulz() -> Iterator[None]:
    """Have timm's Muon orthogonalise in float32 instead of bfloat16 within the context.

    For CPUs: without bfloat16 units each small product is converted and emulated, and the optimiser takes
    longer than the gradients. timm offers no argument for it, so the function is replaced for the duration
    of an optimiser's step.
    """
    module = timm.optim.muon
    original = module.zeropower_via_newtonschulz
    module.zeropower_via_newtonschulz = functools.partial(original, dtype=torch.float32)
    try:
        yield
    finally:
        module.zeropower_via_newtonschulz = original
