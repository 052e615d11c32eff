"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.output import fail

if TYPE_CHECKING:
    from torch import nn


# Enumerations, because typer accepts no option that is a list of literals.
class ServingRuntime(StrEnum):
    """What a model is served in."""

    auto = "auto"
    torch = "torch"
    onnxruntime = "onnxruntime"
    openvino = "openvino"


class ServingPrecision(StrEnum):
    """What a served model computes in."""

    fp32 = "fp32"
    bf16 = "bf16"
    int8 = "int8"
    auto = "auto"


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
