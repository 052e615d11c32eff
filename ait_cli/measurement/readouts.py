"""``ait evaluate --readout``: memories of classes on a checkpoint's features, beside its own head."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path

import typer

from ait_cli.arguments import Layout
from ait_cli.measurement.tables import readout_table, wide_console
from ait_cli.output import fail, progress_bar
from ait_lite.checkpoint import resolve


class MeasuredReadout(StrEnum):
    """Ways to read labels out of a memory."""

    ridge = "ridge"
    hopfield = "hopfield"
    associative = "associative"
    prototype = "prototype"
    all = "all"


def print_readouts(
    checkpoint: str,
    data: Path | None,
    readouts: list[MeasuredReadout],
    layout: Layout,
    only: Path | None,
    per_class: int | None,
    random_features: int,
    *,
    unfit: bool,
    as_json: bool,
) -> None:
    """Measure readouts of a memory and print them, or end the command with the reason why that cannot be done.

    Args:
        checkpoint: Folder, or name of a bundled model.
        data: The data folder.
        readouts: Which to measure; ``all`` stands for each; none are refused.
        layout: Of `data`.
        only: List of the images to ask about.
        per_class: Examples of a class at most.
        random_features: Those that ridge may read.
        unfit: Options were given that readouts do not have.
        as_json: Print JSON.

    Raises:
        typer.Exit: It cannot be done.
    """
    from ait_lite.class_memory import READOUTS
    from training.errors import CheckpointError, DataError
    from training.teaching.comparison import compare_readouts

    if not readouts:
        fail("--per-class and --random-features are for --readout; name a readout, or all.")
    if unfit:
        fail(
            "--readout asks a memory about a folder of images; leave out --source, --flip, --runtime, --precision, "
            "--report, --confusion, --reliability."
        )
    if data is None:
        fail("name DATA, the folder with the images to teach in train/ and those to ask about in val/ or test/.")
    try:
        with progress_bar("embedding") as progress:
            found = compare_readouts(
                resolve(checkpoint),
                data,
                [name for name in READOUTS if name in readouts or MeasuredReadout.all in readouts],
                per_class=per_class,
                random_features=random_features,
                layout=layout.value,
                only=only,
                progress=progress,
            )
    except (CheckpointError, DataError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}; choose another file or folder.")
    result = {"checkpoint": checkpoint, "data": str(data), "per_class": per_class} | found.to_json()
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    console = wide_console()
    console.print(readout_table(result))
    if found.random_features:
        console.print(f"ridge reads {found.random_features:,} random features, whose leave-one-out error is smaller")
    elif found.random_features == 0 and random_features:
        console.print("ridge reads the features themselves, whose leave-one-out error is smaller")
    if found.reason:
        console.print(f"no head to compare with: {found.reason}", soft_wrap=True, highlight=False, markup=False)
