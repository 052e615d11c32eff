"""``ait tune``: search the settings of a recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ait_cli.arguments import Overrides, Recipe
from ait_cli.output import fail

if TYPE_CHECKING:
    from rich.table import Table

    from training.tuning.study import TuningResult


def tune(
    recipe: Recipe,
    overrides: Overrides = None,
    ranges: Annotated[
        list[str] | None,
        typer.Option(
            "--range",
            help="A key and its values: KEY=LOW..HIGH, KEY=LOW..HIGH:log (on a logarithmic scale) or KEY=A|B; "
            "whole numbers if both ends are; repeatable.",
        ),
    ] = None,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, including those of earlier calls.")] = 20,
    resume: Annotated[
        Literal["never", "auto"],
        typer.Option(help="auto continues the study in the output folder, or starts one if there is none."),
    ] = "never",
) -> None:
    """Search for the best settings of a recipe.

    Each trial is a training run; those that fall behind are cut short. All results go to the recipe's output folder.
    """
    from rich.console import Console

    from training.errors import CheckpointError, DataError, OutputError, RecipeError, TrainingInterrupted

    try:
        from training.tuning.study import tune as run_study
    except ModuleNotFoundError as error:
        if error.name != "optuna":
            raise
        fail("this needs optuna, which is not installed: pip install 'associative-transformer[tune]'")
    try:
        result = run_study(recipe, overrides or [], ranges or [], trials, resume=resume == "auto")
    except TrainingInterrupted as error:
        typer.echo(f"{error.signal_name}: {error}; `ait tune … --resume auto` continues the study", err=True)
        raise typer.Exit(error.exit_code) from None
    except (CheckpointError, DataError, OutputError, RecipeError) as error:
        fail(str(error))
    console = Console()
    console.print(_table(result))
    best = result.best
    if best is not None:
        values = " ".join(f"{key}={value}" for key, value in best.values.items())
        console.print(
            f"best: trial {best.number}, {best.accuracy:.2%} of the validation images, on which it was chosen; "
            f"{best.folder / 'best'}\n{values}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )


def _table(result: TuningResult) -> Table:
    """Lay out trials, the best first."""
    from rich.markup import escape
    from rich.table import Table

    keys = list(dict.fromkeys(key for trial in result.trials for key in trial.values))
    table = Table("trial", "outcome")
    for column in ("accuracy", "epochs", *keys):
        table.add_column(column, justify="right")
    for trial in sorted(result.trials, key=lambda trial: (trial.outcome != "complete", -(trial.accuracy or 0.0))):
        values = [trial.values.get(key, "") for key in keys]
        table.add_row(
            str(trial.number),
            trial.outcome,
            "" if trial.accuracy is None else f"{trial.accuracy:.2%}",
            str(trial.epochs),
            *(f"{value:.3g}" if isinstance(value, float) else escape(str(value)) for value in values),
        )
    return table
