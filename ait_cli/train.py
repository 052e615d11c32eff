"""``ait train``: train a model from a recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from ait_cli.arguments import Overrides, Recipe
from ait_cli.lazy_group import plain_app
from ait_cli.output import fail

app = plain_app()

_EXIT_CODES = (
    ("0", "done"),
    ("1", "refused or failed, with the reason"),
    ("2", "wrong usage"),
    ("130", "stopped by Ctrl-C, with a checkpoint of the last step, from which --resume auto continues"),
    ("143", "the same after SIGTERM"),
)


class TrainCommand(TyperCommand):
    """A command whose ``--help`` explains every key of a recipe, read from the trainer only when asked for."""

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write exit codes, bundled recipes and recipe keys."""
        from training.recipe.loading import bundled_recipes, recipe_keys

        with formatter.section("Exit codes"):
            formatter.write_dl(_EXIT_CODES)
        with formatter.section("Bundled recipes"):
            formatter.write_text(", ".join(bundled_recipes()))
        with formatter.section("Recipe keys, each settable as KEY=VALUE"):
            formatter.write_dl(
                [(name, f"{description} ({kind}; {default})") for name, kind, default, description in recipe_keys()]
            )


@app.command(cls=TrainCommand)
def train(
    recipe: Recipe,
    overrides: Overrides = None,
    resume: Annotated[
        Literal["never", "auto"],
        typer.Option(help="auto continues the run in the output folder, or starts one if there is none."),
    ] = "never",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print model, data sizes, steps and schedule; train nothing.")
    ] = False,
    find_lr: Annotated[
        bool,
        typer.Option(
            "--find-lr",
            help="Instead of training, raise the learning rate over a short run, draw the loss, and suggest a rate.",
        ),
    ] = False,
) -> None:
    """Train an image classifier on folders of images.

    The recipe says where the data is, by default a folder with one folder of images per class.
    """
    from training.errors import (
        CheckpointError,
        DataError,
        NonFiniteLossError,
        OutputError,
        RecipeError,
        TrainingInterrupted,
    )
    from training.recipe.loading import load_recipe

    if find_lr and (dry_run or resume == "auto"):
        raise typer.BadParameter("--find-lr does not go with --dry-run or --resume")
    try:
        checked = load_recipe(recipe, overrides or [])
        # After the recipe: a mistyped one is refused without waiting for torch.
        if dry_run:
            from rich.console import Console

            from training.run.plan import plan, print_plan

            print_plan(plan(checked), checked, Console())
        elif find_lr:
            from training.run.rate_sweep import draw_sweep, sweep_path, sweep_rates

            sweep, path = sweep_rates(checked), sweep_path(checked)
            draw_sweep(sweep, path)
            ended = "the loss exploded" if sweep.exploded else "all rates were tried"
            typer.echo(f"optimizer.lr={sweep.suggestion:g} (after {len(sweep.rates)} updates {ended}; {path})")
        else:
            from training.run import trainer

            trainer.train(checked, resume=resume == "auto")
    except TrainingInterrupted as error:
        typer.echo(f"{error.signal_name}: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except (CheckpointError, DataError, NonFiniteLossError, OutputError, RecipeError) as error:
        fail(str(error))
