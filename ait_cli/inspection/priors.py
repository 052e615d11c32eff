"""The part of ``ait inspect`` that relates priors to classes, on labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ait_cli.output import fail
from ait_lite.wording import counted

if TYPE_CHECKING:
    from ait.associative_model import AssociativeModel
    from training.data.sources.folder import Layout as DataLayout

# Every prior of every block is removed once: more images would take minutes.
_MOST_IMAGES = 512


def inspect_priors(model: AssociativeModel, folder: Path, target: Path, layout: DataLayout = "auto") -> None:
    """Draw which classes recall each prior, and what accuracy does without it.

    Args:
        model: The model; its configuration names the classes.
        folder: Images in one folder per class, or ``val/`` or ``test/`` of these, of which up to 512 are taken evenly.
        target: The PNG file.
        layout: What the folders in `folder` are, as a recipe's ``data.layout``.

    Raises:
        typer.Exit: The images cannot be used, or their classes are not the model's.
    """
    import torch
    from timm.data.config import resolve_model_data_config
    from timm.data.transforms_factory import create_transform

    from ait.interpret.draw import draw_prior_map
    from ait.interpret.prior_map import prior_map
    from ait_lite.checkpoint import named_labels
    from ait_lite.images.decode import decode
    from ait_lite.images.errors import ImageError
    from ait_lite.images.limits import ImageLimits
    from training.data import open_evaluation
    from training.errors import DataError

    try:
        images = open_evaluation("folder", folder, layout=layout)
    except DataError as error:
        fail(str(error))
    names = named_labels(vars(model)["pretrained_cfg"]) or images.classes
    unknown = sorted(set(images.classes) - set(names))
    if unknown:
        fail(f"{folder} holds classes that the model does not know: {', '.join(unknown)}.")
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    positions = range(0, len(images), max(1, -(-len(images) // _MOST_IMAGES)))
    pixels = []
    for position in positions:
        path = images.origin / images.names[position]
        try:
            pixels.append(transform(decode(path.read_bytes(), ImageLimits())))
        except (ImageError, OSError) as error:
            fail(f"{path}: {error}")
    places = torch.tensor([list(names).index(name) for name in images.classes])
    found = prior_map(model, torch.stack(pixels), places[images.labels[list(positions)]], model.num_classes)
    draw_prior_map(found, target, names)
    typer.echo(f"on {counted(len(pixels), 'image')}: {found.summary()}")
    typer.echo(f"drawn: {target}")
