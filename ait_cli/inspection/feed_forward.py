"""``ait inspect --ffn``: the feed-forward networks of a model seen as memories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ait_cli.arguments import load_classifier
from ait_cli.output import fail, progress_bar
from ait_lite.wording import counted

if TYPE_CHECKING:
    from torch import Tensor

    from ait.classifier import Classifier

_MOST_IMAGES = 512


def inspect_feed_forward(model: str, data: Path, output: Path) -> None:
    """Draw what fires the keys of every feed-forward network of a model, and print what holds for each network.

    Args:
        model: A checkpoint folder, or name of a bundled model.
        data: Folder of images.
        output: Folder for the drawings and ``keys.json``.
    """
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
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        fail(f"{output}: cannot be made a folder ({error.strerror}); choose another with --output.")
    table = Table(title=f"feed-forward networks as memories, on {counted(len(pixels), 'image')}")
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

    from ait_lite.images.errors import ImageError
    from training.errors import DataError
    from training.teaching.files import image_files

    try:
        paths = image_files([data])
        taken = [paths[index * len(paths) // most] for index in range(most)] if len(paths) > most else paths
        classifier = load_classifier(model)
        parts = []
        with progress_bar("reading images") as progress:
            for path in taken:
                parts.append(classifier.pixels([path]))
                progress(len(parts), len(taken))
    except (DataError, ImageError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{data}: cannot be read ({error.strerror}).")
    return classifier, torch.cat(parts), [str(path) for path in taken]
