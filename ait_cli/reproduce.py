"""``ait reproduce``: experiments on associative memories, held against theory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ait_cli.output import fail


def reproduce(
    name: Annotated[str | None, typer.Argument(help="The experiment; left out: list them.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for NAME.json, NAME.png and NAME.md.")] = Path(
        "reproduced"
    ),
    full: Annotated[
        bool, typer.Option("--full", help="At the paper's size, or with more trials; takes longer.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="For `block-memory` and `unknown`: images in train/ and test/, a folder a class."),
    ] = None,
) -> None:
    """Run an experiment on associative memories and check what it measures against theory.

    Writes the figures as JSON and a plot. Exit code 1 where a figure lies outside the range that theory allows.
    """
    from difflib import get_close_matches

    from rich.console import Console
    from rich.table import Table

    from training.errors import DataError
    from training.experiments.run import EXPERIMENTS, WITH_DATA, run_experiment

    if name is None:
        typer.echo("\n".join(EXPERIMENTS))
        return
    if name not in EXPERIMENTS:
        near = get_close_matches(name, EXPERIMENTS, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        fail(f"there is no experiment {name!r}{hint} There is: {', '.join(EXPERIMENTS)}.")
    if data is not None and name not in WITH_DATA:
        fail(f"{name} takes no images; --data is for: {', '.join(sorted(WITH_DATA))}.")
    progress = Console(stderr=True)
    try:
        with progress.status(f"running {name}"):
            outcome = run_experiment(name, output, full, seed, data)
    except DataError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output}: cannot be written ({error.strerror}).")
    table = Table(title=outcome.title)
    for column in ("figure", "measured", "theory", "allowed", ""):
        table.add_column(column, justify="left" if column in ("figure", "") else "right")
    for check in outcome.checks:
        theory = "" if check.theory is None else f"{check.theory:.4g}"
        verdict = "agrees" if check.passed else "DIFFERS"
        table.add_row(check.name, f"{check.measured:.4g}", theory, f"{check.low:.4g} to {check.high:.4g}", verdict)
    Console(width=120).print(table)
    for ending in ("json", "png", *(["md"] if outcome.table is not None else [])):
        progress.print(f"written: {output / f'{name}.{ending}'}", soft_wrap=True, highlight=False)
    if not outcome.passed:
        raise typer.Exit(1)
