"""``ait models``: list the models that are ready to use without a download."""

from __future__ import annotations

from typing import Annotated

import typer

from ait_cli.output import fail


def models(
    prepare: Annotated[
        bool,
        typer.Option("--prepare", help="Prepare installed models that are not ready yet; takes some seconds, once."),
    ] = False,
) -> None:
    """List the models that come with this installation.

    Each can be served, used for predictions, explained, fine-tuned and loaded in Python by its name.
    """
    from ait_lite.checkpoint import CheckpointError, bundled_models, default_model, named_labels, read_config
    from ait_lite.checkpoint.imagenet import NAME, REMEDY, imagenet_weights, prepare_imagenet

    if prepare and imagenet_weights() is not None:
        try:
            prepare_imagenet()
        except CheckpointError as error:
            fail(str(error))
    ready = bundled_models()
    for name, folder in ready.items():
        config = read_config(folder)
        _, height, width = config["pretrained_cfg"]["input_size"]
        labels = named_labels(config)
        default = ", used where none is named" if name == default_model() else ""
        typer.echo(f"{name}: {len(labels):,} classes ({', '.join(labels[:3])}, …), {width} x {height} pixels{default}")
    if NAME not in ready:
        how = f"{REMEDY}, then " if imagenet_weights() is None else ""
        typer.echo(f"{NAME}: 1,000 classes of photographs; not ready: {how}ait models --prepare")
