"""A sweep of the learning rate ends where the loss explodes, suggests a lower one, and leaves nothing else."""

from pathlib import Path

import pytest
from rich.console import Console

from tests.support.processes.training_runs import MakeRecipe
from training.errors import RecipeError
from training.recipe.keys import Recipe
from training.run.rate_sweep import RateSweep, draw_sweep, smoothed, sweep_path, sweep_rates
from training.run.trainer import train


@pytest.fixture
def recipe(make_recipe: MakeRecipe) -> Recipe:
    """A recipe with plain gradient descent, which diverges at large rates; the head learns the fastest."""
    return make_recipe(
        optimizer={"name": "sgd", "lr": 0.1, "layer_decay": 0.5, "weight_decay": 0.0},
        augment={"crop_padding": 0},
        ema_decay=None,
        clip_grad=None,
        accumulate=2,
    )


def test_a_sweep_stops_at_the_explosion_and_suggests_a_rate_below(recipe: Recipe, quiet: Console) -> None:
    sweep = sweep_rates(recipe, quiet)
    assert sweep.exploded
    assert len(sweep.rates) == len(sweep.losses) == len(sweep.smooth) < 100
    assert sweep.rates[0] == pytest.approx(1e-7)
    ratios = {round(later / earlier, 6) for earlier, later in zip(sweep.rates, sweep.rates[1:], strict=False)}
    assert len(ratios) == 1
    assert 1e-7 < sweep.suggestion < sweep.rates[-1] / 10
    # A function of the recipe, as a run is; the peak rate is not read.
    again = sweep_rates(
        recipe.model_copy(update={"optimizer": recipe.optimizer.model_copy(update={"lr": 7.0})}), quiet
    )
    assert again == sweep


def test_a_run_is_left_as_it_is(recipe: Recipe, quiet: Console, tmp_path: Path) -> None:
    train(recipe.model_copy(update={"epochs": 1}), console=quiet)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    sweep = sweep_rates(recipe, quiet)
    draw_sweep(sweep, sweep_path(recipe))
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    curve = after.pop(tmp_path / "run-lr.png")
    assert curve.startswith(b"\x89PNG")
    assert after == before


def test_losses_are_averaged_with_their_neighbours() -> None:
    assert smoothed([0, 3, 6, 3, 3, 0]) == (3, 3, 3, 3, 3, 2)
    sweep = RateSweep((1e-4, 1e-3, 1e-2), (3.0, 1.0, 2.0), (2.0, 1.5, 1.8), exploded=True)
    assert sweep.suggestion == 1e-4


def test_a_head_in_closed_form_has_no_rate(make_recipe: MakeRecipe, quiet: Console) -> None:
    with pytest.raises(RecipeError, match="no learning rate"):
        sweep_rates(make_recipe(method="closed_form"), quiet)
