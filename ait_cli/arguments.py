"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.output import fail
from ait_lite.checkpoint import CheckpointError

if TYPE_CHECKING:
    from torch import nn

    from ait.classifier import Classifier


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


class Layout(StrEnum):
    """What the folders in a data folder are, as a recipe's ``data.layout``."""

    auto = "auto"
    splits = "splits"
    classes = "classes"


LayoutOption = Annotated[
    Layout,
    typer.Option(
        "--layout",
        help="What the folders in DATA are: splits (train, val, test) or classes; auto: splits if all have such names "
        "and hold folders.",
    ),
]


def load_model(reference: str) -> nn.Module:
    """Load a model in evaluation mode, or end the command with the reason why it cannot be loaded.

    Args:
        reference: Folder of a checkpoint, name of a bundled model, or of a timm model with pretrained weights.

    Raises:
        typer.Exit: There is no such model, or it cannot be loaded.
    """
    from ait import pretrained

    with _refused(reference):
        return pretrained.load_model(reference)


def load_classifier(reference: str, device: str | None = None, batch_size: int = 64) -> Classifier:
    """Load a model with its preprocessing and class names, or end the command with the reason why it cannot be loaded.

    Args:
        reference: As for `load_model`.
        device: Where it runs; None or ``auto`` is an accelerator if there is one, else the CPU.
        batch_size: Most images in one forward pass.

    Raises:
        typer.Exit: There is no such model or device, or it cannot be loaded.
    """
    from ait.classifier import load

    chosen = None if device == "auto" else device
    if chosen is not None:
        check_device(chosen)
    with _refused(reference):
        return load(reference, chosen, batch_size)


def check_device(device: str) -> None:
    """End the command where nothing can be computed on the device that ``--device`` names.

    Args:
        device: As torch names it.

    Raises:
        typer.Exit: It cannot be used.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        fail(f"--device {device} cannot be used: {str(error).partition(chr(10))[0]}")


@contextmanager
def _refused(reference: str) -> Iterator[None]:
    """End the command where what is loaded within cannot be."""
    try:
        yield
    except (CheckpointError, FileNotFoundError) as error:
        fail(str(error))
    except (OSError, RuntimeError, ValueError) as error:  # of a timm model's weights, its channels, or the device
        fail(f"{reference}: cannot be loaded ({error}).")
