"""``ait inspect``: draw what a model's memory does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Checkpoint, load_classifier
from ait_cli.output import fail


def inspect(
    model: Checkpoint,
    image: Annotated[Path | None, typer.Argument(help="An image file; not with --ffn.")] = None,
    ffn: Annotated[
        bool, typer.Option("--ffn", help="Look at the feed-forward networks as memories, over many images.")
    ] = False,
    data: Annotated[
        Path | None, typer.Option(help="Folder of images for --ffn, of which up to 512 are taken evenly.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The PNG file; default: IMAGE's name, ending in .memory.png, here. With --ffn a folder.",
        ),
    ] = None,
    priors: Annotated[
        Path | None,
        typer.Option(
            help="Labelled images, a folder a class: draw the classes of each prior and accuracy without it, too."
        ),
    ] = None,
) -> None:
    """Draw what a model's memory does on an image.

    Shows, for each block, energies, recalled priors and ranks. With --priors, also which classes recall each prior,
    and what accuracy does when it is removed. With --ffn and --data: the images that fire each key of the feed-forward
    networks most, the share of dead keys, and the signal-to-noise ratio of each layer.
    """
    if ffn:
        if data is None or image is not None:
            fail("--ffn looks at a folder of images: give it with --data, and no IMAGE.")
        from ait_cli.inspect_feed_forward import inspect_feed_forward

        inspect_feed_forward(model, data, output or Path("ffn"))
    elif image is None:
        fail("name an image, or use --ffn with --data.")
    else:
        _inspect_image(model, image, output, priors)


def _inspect_image(model: str, image: Path, output: Path | None, priors: Path | None) -> None:
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
    if priors is not None:
        from ait_cli.inspect_priors import inspect_priors

        inspect_priors(classifier.model, priors, target.with_suffix(".priors.png"))
