"""``ait inspect``: draw what a model's memory does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.arguments import Checkpoint, load_model
from ait_cli.output import fail, progress_bar

if TYPE_CHECKING:
    from torch import Tensor

    from ait.classifier import Classifier

_MOST_IMAGES = 512


def inspect(
    model: Checkpoint,
    image: Annotated[Path | None, typer.Argument(help="A JPEG, PNG or WebP file; not with --ffn.")] = None,
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
) -> None:
    """Draw what a model's memory does on an image.

    Shows, for each block, energies, recalled priors and ranks. With --ffn and --data: the images that fire each key of
    the feed-forward networks most, the share of dead keys, and the signal-to-noise ratio of each layer.
    """
    if ffn:
        if data is None or image is not None:
            fail("--ffn looks at a folder of images: give it with --data, and no IMAGE.")
        _inspect_feed_forward(model, data, output or Path("ffn"))
    elif image is None:
        fail("name an image, or use --ffn with --data.")
    else:
        _inspect_image(model, image, output)


def _inspect_image(model: str, image: Path, output: Path | None) -> None:
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    from ait.associative_transformer import AssociativeTransformer
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
    report = draw_memory(loaded, decoded, pixels, target, named_labels(vars(loaded)["pretrained_cfg"]))
    typer.echo(describe(report))
    typer.echo(f"drawn: {target}")


def _inspect_feed_forward(model: str, data: Path, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from ait.interpret.draw_keys import draw_keys
    from ait.interpret.feed_forward import feed_forward_report

    classifier, pixels, names = sample_images(model, data)
    try:
        report = feed_forward_report(classifier.model, pixels)
    except TypeError as error:
        fail(str(error))
    shown = classifier.bytes_of(pixels)
    output.mkdir(parents=True, exist_ok=True)
    table = Table(title=f"feed-forward networks as memories, on {len(pixels)} images")
    for column in ("network", "keys", "dead keys", "keys a token", "SNR"):
        table.add_column(column, justify="left" if column == "network" else "right")
    told = []
    for memory in report:
        draw_keys(memory, shown, output / f"{memory.name}.png", [Path(name).parent.name for name in names])
        table.add_row(
            memory.name, str(memory.keys), f"{memory.dead:.1%}", f"{memory.keys_per_token:.0f}", f"{memory.snr:.3f}"
        )
        strongest = {
            str(key): [names[index] for index in memory.strongest[key].tolist()] for key in range(memory.keys)
        }
        told.append(
            {
                "network": memory.name,
                "dead": memory.dead,
                "snr": memory.snr,
                "keys_per_token": memory.keys_per_token,
                "strongest": strongest,
            }
        )
    (output / "keys.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    Console(width=110).print(table)
    typer.echo(f"drawn: {output}")


def sample_images(model: str, data: Path, most: int = _MOST_IMAGES) -> tuple[Classifier, Tensor, list[str]]:
    """Load a model and images from a folder, or end the command with the reason why that cannot be.

    Args:
        model: A checkpoint folder, name of a bundled model, or of a timm model with pretrained weights.
        data: A folder of images at any depth.
        most: Images at most, taken evenly.

    Returns:
        The model; normalised pixels (B, C, H, W); and the path of each image.
    """
    import torch

    from ait.classifier import load
    from ait_lite.decode import ImageError
    from training.errors import CheckpointError, DataError
    from training.teaching.images import image_files

    try:
        paths = image_files([data])
        taken = [paths[index * len(paths) // most] for index in range(most)] if len(paths) > most else paths
        classifier = load(model)
        parts = []
        with progress_bar("reading images") as progress:
            for path in taken:
                parts.append(classifier.pixels([path]))
                progress(len(parts), len(taken))
    except (CheckpointError, DataError, FileNotFoundError, ImageError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{data}: cannot be read ({error.strerror}).")
    return classifier, torch.cat(parts), [str(path) for path in taken]
