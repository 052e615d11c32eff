"""``ait inspect``: draw what a model's memory does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Checkpoint, load_model
from ait_cli.output import fail


def inspect(
    model: Checkpoint,
    image: Annotated[Path, typer.Argument(help="A JPEG, PNG or WebP file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The PNG file; default: IMAGE's name, ending in .memory.png, here.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Labelled images, one folder per class: tell what the answers lose without the memory."),
    ] = None,
) -> None:
    """Draw what a model's memory does on an image.

    Shows, for each block, energies, recalled priors and ranks; and with --data whether all of it matters.
    """
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    from ait.associative_transformer import AssociativeTransformer
    from ait.interpret.causal import logits_without_retrieval
    from ait.interpret.draw import draw_memory
    from ait.interpret.memory_report import describe
    from ait_lite.checkpoint import named_labels
    from ait_lite.decode import ImageError, ImageLimits, decode

    loaded = load_model(model)
    if not isinstance(loaded, AssociativeTransformer):
        fail(f"{model}: {type(loaded).__name__} has no associative memory to draw; use an ait_* checkpoint.")
    try:
        decoded = decode(image.read_bytes(), ImageLimits())
    except ImageError as error:
        fail(f"{image}: {error}")
    except OSError as error:
        fail(f"{image}: cannot be read ({error.strerror}).")
    pixels = create_transform(**resolve_model_data_config(loaded), is_training=False)(decoded).unsqueeze(0)
    # Not beside the image, whose folder may be one of training images.
    target = output or Path(f"{image.stem}.memory.png")
    labels = named_labels(vars(loaded)["pretrained_cfg"])
    typer.echo(describe(draw_memory(loaded, decoded, pixels, target, labels)))
    own = loaded(pixels)[0].softmax(-1).detach()
    without, best = logits_without_retrieval(loaded, pixels)[0].softmax(-1), int(own.argmax())
    name = labels[best] if labels else f"class {best}"
    typer.echo(f"{name}: {own[best]:.2%}; {without[best]:.2%} if the blocks retrieved nothing")
    typer.echo(f"drawn: {target}")
    if data is not None:
        _tell_effects(model, data)


def _tell_effects(model: str, data: Path) -> None:
    from rich.console import Console

    from ait.interpret.causal import describe_effects
    from ait_lite.checkpoint import resolve
    from training.errors import CheckpointError, DataError
    from training.evaluation.causal import measure_effects

    try:
        report = measure_effects(resolve(model), data, console=Console(stderr=True))
    except (CheckpointError, DataError) as error:
        fail(str(error))
    typer.echo(f"\nWithout the memory, on {report.images} images (differences with 95 % intervals):")
    typer.echo(describe_effects(report))
