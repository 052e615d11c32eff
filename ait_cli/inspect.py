"""``ait inspect``: draw what a model's memory does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Checkpoint, load_classifier
from ait_cli.output import fail


def inspect(
    model: Checkpoint,
    image: Annotated[Path, typer.Argument(help="An image file.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The PNG file; default: IMAGE's name, ending in .memory.png, here.",
        ),
    ] = None,
) -> None:
    """Draw what a model's memory does on an image.

    Shows, for each block, energies, recalled priors and ranks.
    """
    from ait.associative_transformer import AssociativeTransformer
    from ait.interpret.draw import draw_memory
    from ait.interpret.memory_report import describe
    from ait_lite.decode import ImageError
    from ait_lite.image_files import read_image

    classifier = load_classifier(model, device="cpu")
    if not isinstance(classifier.model, AssociativeTransformer):
        kind = type(classifier.model).__name__
        fail(f"{model}: {kind} has no associative memory to draw; use an ait_* checkpoint.")
    try:
        decoded = read_image(image)
    except ImageError as error:
        fail(f"{image}: {error}")
    except OSError as error:
        fail(f"{image}: cannot be read ({error.strerror}).")
    # Not beside the image, whose folder may be one of training images.
    target = output or Path(f"{image.stem}.memory.png")
    try:
        report = draw_memory(classifier.model, decoded, classifier.pixels([decoded]), target, classifier.labels)
    except OSError as error:
        fail(f"{target}: cannot be written ({error.strerror}); choose another file with --output.")
    typer.echo(describe(report))
    typer.echo(f"drawn: {target}")
