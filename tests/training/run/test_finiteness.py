"""A run whose loss or weights are no longer finite is stopped, and its last checkpoint stays."""

from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor

from tests.support.processes.training_runs import MakeRecipe
from training.errors import NonFiniteLossError
from training.run.trainer import train
from training.step.training_step import TrainingStep
from training.step.update import Update, UpdateResult
from training.storage.state_file import load_state


def test_non_finite_loss_names_step_and_remedy_and_spares_the_checkpoint(
    make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = TrainingStep.__call__

    def call(self: TrainingStep, chosen: Tensor, images: Tensor, step: int) -> UpdateResult:
        result = original(self, chosen, images, step)
        return result._replace(loss=result.loss * float("nan")) if step == 6 else result

    monkeypatch.setattr(TrainingStep, "__call__", call)
    recipe = make_recipe(clip_grad=None)
    with pytest.raises(NonFiniteLossError) as error:
        train(recipe, console=quiet)
    for part in ("at step 7 (epoch 2)", "lower optimizer.lr (now 0.01)", "clip_grad", "run is intact"):
        assert part in str(error.value)
    assert load_state(recipe.output / "last" / "state.safetensors")[1]["position"]["epoch"] == 1


def test_diverging_run_is_stopped(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe(optimizer={"name": "sgd", "lr": 1e30}, clip_grad=None, ema_decay=None)
    with pytest.raises(NonFiniteLossError, match="not finite at step"):
        train(recipe, console=quiet)


@pytest.mark.parametrize("step", [2, 4])
def test_weights_that_an_update_broke_are_not_kept(
    step: int, make_recipe: MakeRecipe, quiet: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of the step that breaks them, within an epoch or at its end, was finite."""
    original = Update.__call__

    def call(self: Update, inputs: Tensor, targets: Tensor, batch_size: int, current: int, *more: Any) -> UpdateResult:
        result = original(self, inputs, targets, batch_size, current, *more)
        if current == step:
            with torch.no_grad():
                next(self.learned.model.parameters()).flatten()[0] = float("inf")
        return result

    monkeypatch.setattr(Update, "__call__", call)
    recipe = make_recipe(checkpoint_every=1, evaluate_every=3)
    with pytest.raises(NonFiniteLossError, match=f"after step {step + 1}, for the weights are not"):
        train(recipe, console=quiet)
    tensors, values = load_state(recipe.output / "last" / "state.safetensors")
    assert values["position"]["step"] == step
    assert all(tensor.isfinite().all() for tensor in tensors.values())
