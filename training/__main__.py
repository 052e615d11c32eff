"""``python -m training RECIPE [KEY=VALUE ...] [--resume auto] [--dry-run]``, as ``torchrun -m training`` runs it."""

from typing import Annotated, Literal

import typer

from training.errors import (
    CheckpointError,
    DataError,
    NonFiniteLossError,
    OutputError,
    RecipeError,
    TrainingInterrupted,
)
from training.recipe.loading import bundled_recipes, load_recipe, recipe_help

EXIT_CODES = (
    "Exit codes: 0 done; 1 refused or failed, with the reason; 2 wrong usage; 130 after Ctrl-C and 143 after SIGTERM, "
    "with a checkpoint of the last step, from which --resume auto goes on."
)
_HELP = (
    f"Train an image classifier from a recipe.\n\n{EXIT_CODES}\n\nRecipe keys, each settable as KEY=VALUE:\n\n"
    + recipe_help()
)


def main(
    recipe: Annotated[str, typer.Argument(help=f"A YAML file, or a bundled recipe: {', '.join(bundled_recipes())}.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe keys to replace.")
    ] = None,
    resume: Annotated[
        Literal["never", "auto"],
        typer.Option(help="auto continues the run in the output folder, and starts it where there is none."),
    ] = "never",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print model, data sizes, steps and schedule; train nothing.")
    ] = False,
) -> None:
    """Train, with errors as messages and signals as exit codes."""
    # Late, so that --help and a mistyped recipe answer without loading torch.
    try:
        checked = load_recipe(recipe, overrides or [])
        if dry_run:
            from rich.console import Console

            from training.run.plan import plan, print_plan

            print_plan(plan(checked), checked, Console())
            return
        from training.run.trainer import train

        train(checked, resume=resume == "auto")
    except TrainingInterrupted as error:
        typer.echo(f"{error.signal_name}: {error}", err=True)
        raise typer.Exit(error.exit_code) from None
    except (CheckpointError, DataError, NonFiniteLossError, OutputError, RecipeError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(help=_HELP)(main)
    app(prog_name="python -m training")
