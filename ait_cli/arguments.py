"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.output import fail

if TYPE_CHECKING:
    from torch import nn

Checkpoint = Annotated[str, typer.Argument(help="Folder of a checkpoint, or name of a bundled model.")]
Recipe = Annotated[str, typer.Argument(help="A YAML file, or name of a bundled recipe.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe keys to replace.")]


def load_model(reference: str) -> nn.Module:
    """Load a model in evaluation mode, or end the command with the reason why it cannot be loaded.

    Args:
        reference: Folder of a checkpoint, name of a bundled model, or of a timm model with pretrained weights.

    Raises:
        typer.Exit: There is no such model, or it cannot be loaded.
    """
    from safetensors import SafetensorError

    from ait import pretrained

    try:
        return pretrained.load_model(reference)
    except FileNotFoundError as error:
        fail(str(error))
    except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        fail(f"{reference}: cannot be loaded ({error}).")
