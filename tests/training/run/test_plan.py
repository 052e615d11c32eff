"""A dry run says what would be done, and does nothing."""

from pathlib import Path

import pytest
import timm
from rich.console import Console
from typer.testing import CliRunner

from ait_cli.main import app
from tests.support.processes.training_runs import MakeRecipe
from training.errors import DataError, RecipeError
from training.run.plan import plan, print_plan


def test_plan_counts_what_the_run_will_do(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe()
    found = plan(recipe)
    model = timm.create_model(recipe.model.name, num_classes=3, **recipe.model.args)
    assert found.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert (found.training_images, found.validation_images, found.steps_per_epoch, found.steps) == (33, 15, 5, 15)
    assert found.classes == ("ant", "bee", "cat")
    epochs, rates = zip(*found.schedule, strict=True)
    assert list(epochs) == sorted(epochs)
    assert max(rates) == pytest.approx(recipe.optimizer.lr, rel=0.1)
    assert rates[-1] < 0.1 * max(rates)
    assert not recipe.output.exists()


def test_printed_plan_names_everything(make_recipe: MakeRecipe) -> None:
    console = Console(record=True, width=120, quiet=False, file=None)
    recipe = make_recipe()
    with console.capture() as capture:
        print_plan(plan(recipe), recipe, console)
    text = capture.get()
    for part in ("vit_tiny_patch16_224", "33 training, 15 validation", "15 = 3 epochs of 5", "nothing was trained"):
        assert part in text


def test_plan_refuses_what_the_run_would(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data folder"):
        plan(make_recipe(data={"root": str(tmp_path / "nowhere")}))
    with pytest.raises(RecipeError, match="crop_padding"):
        plan(make_recipe(augment={"crop_padding": 16}))


@pytest.mark.parametrize(
    "recipe", [["cifar10_cpu"], ["quick", "model=ait_tiny_patch4_32", "model.checkpoint=ait_tiny_patch4_32.cifar10"]]
)
def test_command_writes_nothing(recipe: list[str], data_root: Path, tmp_path: Path) -> None:
    arguments = ["train", *recipe, "--dry-run", f"data.root={data_root}", f"output={tmp_path / 'run'}"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "dry run" in result.output
    assert not (tmp_path / "run").exists()
