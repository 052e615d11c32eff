"""``ait inspect``: draw what a model's memory does."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ait_cli.arguments import Checkpoint, Layout, LayoutOption, load_classifier
from ait_cli.output import fail
from ait_lite.wording import counted


def inspect(
    model: Checkpoint,
    image: Annotated[Path | None, typer.Argument(help="An image file; not with --ffn.")] = None,
    ffn: Annotated[
        bool, typer.Option("--ffn", help="Look at the feed-forward networks as memories, over many images.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="With --ffn: folder of images, of which up to 512 are taken evenly. Otherwise: labelled images, "
            "one folder per class, to tell what the answers lose without the memory; IMAGE may then be left out."
        ),
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
            help="Labelled images, one folder per class: also draw the classes of each prior, and accuracy without it."
        ),
    ] = None,
    layout: LayoutOption = Layout.auto,
) -> None:
    """Draw what a model's memory does on an image.

    Shows, for each block, energies, recalled priors and ranks. With --priors, also which classes recall each prior,
    and what accuracy does when it is removed. With --ffn and --data: the images that fire each key of the feed-forward
    networks most, the share of dead keys, and the signal-to-noise ratio of each layer. With --data otherwise: what the
    answers to labelled images lose without the memory.
    """
    if ffn:
        if data is None or image is not None:
            fail("--ffn looks at a folder of images: give it with --data, and no IMAGE.")
        from ait_cli.inspection.feed_forward import inspect_feed_forward

        inspect_feed_forward(model, data, output or Path("ffn"))
    elif image is None and data is not None and priors is None:
        _tell_effects(model, data, layout)
    elif image is None:
        fail("name an image, or give labelled images with --data, or --ffn and --data.")
    else:
        _inspect_image(model, image, output, priors, data, layout)


def _inspect_image(
    model: str, image: Path, output: Path | None, priors: Path | None, data: Path | None, layout: Layout
) -> None:
    from ait.associative_model import AssociativeModel
    from ait.interpret.causal import logits_under
    from ait.interpret.draw import draw_memory
    from ait.interpret.memory_report import describe
    from ait_lite.images.errors import ImageError
    from ait_lite.images.files import read_image

    classifier = load_classifier(model, device="cpu")
    if not isinstance(classifier.model, AssociativeModel) or not classifier.model.associative_blocks():
        kind = type(classifier.model).__name__
        fail(f"{model}: {kind} has no associative memory in its blocks to draw; use an ait_* checkpoint with one.")
    try:
        decoded = read_image(image)
    except ImageError as error:
        fail(f"{image}: {error}")
    except OSError as error:
        fail(f"{image}: cannot be read ({error.strerror}).")
    # Not beside the image, whose folder may be one of training images.
    target = output or Path(f"{image.stem}.memory.png")
    pixels = classifier.pixels([decoded])
    try:
        report = draw_memory(classifier.model, decoded, pixels, target, classifier.labels)
    except OSError as error:
        fail(f"{target}: cannot be written ({error.strerror}); choose another file with --output.")
    typer.echo(describe(report))
    own = classifier.model(pixels)[0].softmax(-1).detach()
    without, best = logits_under(classifier.model, pixels, "retrieval_off")[0].softmax(-1), int(own.argmax())
    name = classifier.labels[best] if classifier.labels else f"class {best}"
    typer.echo(f"{name}: {own[best]:.2%}; {without[best]:.2%} if the blocks retrieved nothing")
    typer.echo(f"drawn: {target}")
    if priors is not None:
        from ait_cli.inspection.priors import inspect_priors

        inspect_priors(classifier.model, priors, target.with_suffix(".priors.png"), layout.value)
    if data is not None:
        _tell_effects(model, data, layout)


def _tell_effects(model: str, data: Path, layout: Layout) -> None:
    from rich.console import Console

    from ait.interpret.causal import describe_effects
    from ait_lite.checkpoint import resolve
    from training.errors import CheckpointError, DataError
    from training.evaluation.causal import measure_effects

    try:
        report = measure_effects(resolve(model), data, layout=layout.value, console=Console(stderr=True))
    except (CheckpointError, DataError) as error:
        fail(str(error))
    typer.echo(f"\nWithout the memory, on {counted(report.images, 'image')} (differences with 95 % intervals):")
    typer.echo(describe_effects(report))
