"""`ait bench training` times real updates, and leaves nothing behind."""

import json
from pathlib import Path

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

from ait_cli.main import app
from tests.support.processes.training_runs import MakeRecipe
from training.benchmark.throughput import CACHINGS, benchmark_training
from training.errors import RecipeError


def test_every_way_is_timed_against_ready_batches(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe()
    turns: list[str] = []
    # Time for one step at most, as on a machine where others have the processor.
    result = benchmark_training(recipe, seconds=1e-9, rounds=2, console=quiet, on_case=turns.append)
    assert [way.feed for way in result.throughputs] == ["synthetic", *CACHINGS]
    assert len(turns) == 2 * len(result.throughputs)
    assert result.throughputs[0].share == 1
    for way in result.throughputs:
        assert way.images_per_second > 0
        assert way.share > 0
    assert not recipe.output.exists()


def test_command_prints_a_table_and_writes_json(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(make_recipe().model_dump(mode="json")))
    arguments = ["bench", "training", str(recipe), "data.workers=0", "--caching", "ram"]
    result = CliRunner().invoke(
        app, [*arguments, "--seconds", "0.02", "--rounds", "1", "-o", str(tmp_path / "b.json")]
    )
    assert result.exit_code == 0, result.stderr
    assert "synthetic" in result.stdout
    written = json.loads((tmp_path / "b.json").read_text())
    assert [way["feed"] for way in written["throughputs"]] == ["synthetic", "ram"]
    assert written["workers"] == 0


def test_a_model_that_cannot_be_made_is_named(make_recipe: MakeRecipe, quiet: Console) -> None:
    recipe = make_recipe(model={"name": "no_such_model"})
    with pytest.raises(RecipeError, match="no_such_model"):
        benchmark_training(recipe, console=quiet)
