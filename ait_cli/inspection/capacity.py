"""``ait capacity``: how many associations a model's layers can hold."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.arguments import Checkpoint, load_model
from ait_cli.inspection.feed_forward import sample_images
from ait_cli.output import fail

if TYPE_CHECKING:
    from ait.interpret.associations import Capacity


def capacity(
    model: Checkpoint,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of images whose tokens are the keys, up to 128 taken evenly; default: random keys."),
    ] = None,
    most: Annotated[int, typer.Option(min=16, help="Most associations to probe for.")] = 16_384,
    seed: Annotated[int, typer.Option(min=0, help="Of keys and values.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell how many associations a model can hold.

    For each feed-forward network: how many facts it could hold in theory, and how many a probe finds. For each memory:
    how many patterns it tells apart, and a hint whether more priors would help. Only training with more priors can
    tell for sure.
    """
    from ait.interpret.associations import measure_capacity

    if data is None:
        loaded, pixels = load_model(model), None
    else:
        classifier, pixels, _ = sample_images(model, data, most=128)
        loaded, pixels = classifier.model.cpu(), pixels.cpu()
    try:
        result = measure_capacity(loaded, pixels, most=most, seed=seed)
    except TypeError as error:
        fail(str(error))
    if as_json:
        typer.echo(json.dumps(asdict(result), indent=2))
        return
    keys = "random keys" if pixels is None else f"tokens of {len(pixels)} images as keys"
    _print(result, keys)


def _print(result: Capacity, keys: str) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=110)
    networks = Table(title=f"facts that feed-forward networks hold, {keys}")
    for column in ("network", "width", "keys", "predicted, both matrices", "predicted, values", "probed, values"):
        networks.add_column(column, justify="left" if column == "network" else "right")
    for each in result.feed_forward:
        probed = f"{'≥ ' if each.bounded else ''}{each.probed:,}"
        networks.add_row(
            each.name, str(each.width), str(each.keys), f"{each.predicted:,}", f"{each.predicted_values:,}", probed
        )
    console.print(networks)
    if result.memory:
        memories = Table(title="patterns that memories tell apart")
        for column in ("block", "priors", "width", "in use", "SNR of recall", "predicted", "probed"):
            memories.add_column(column, justify="right")
        for found in result.memory:
            memories.add_row(
                str(found.block),
                str(found.priors),
                str(found.width),
                "" if found.in_use is None else f"{found.in_use:.1f}",
                "" if found.snr is None else f"{found.snr:.2f}",
                "" if found.predicted is None else f"{found.predicted:,}",
                f"{'≥ ' if found.bounded else ''}{found.probed:,}",
            )
        console.print(memories)
    if result.changed is not None:
        typer.echo(f"answers that change without retrieval: {result.changed:.1%}")
    if result.hint:
        typer.echo(f"hint: {result.hint}")
