"""``python -m training RECIPE [KEY=VALUE ...] [--resume]``."""

from typing import Annotated

import typer

from training.config import bundled_recipes, load_recipe, recipe_help
from training.errors import (
    CheckpointError,
    DataError,
    NonFiniteLossError,
    OutputError,
    RecipeError,
    TrainingInterrupted,
)

_HELP = "Train an image classifier from a recipe.\n\nRecipe keys, each settable as KEY=VALUE:\n\n" + recipe_help()


def main(
    recipe: Annotated[str, typer.Argument(help=f"A YAML file, or a bundled recipe: {', '.join(bundled_recipes())}.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe keys to replace.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the output folder.")] = False,
) -> None:
    """Train, with errors as messages and signals as exit codes."""
    # Late, so that --help and a mistyped recipe answer without loading torch.
    try:
        checked = load_recipe(recipe, overrides or [])
        from training.engine import train

        train(checked, resume=resume)
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
