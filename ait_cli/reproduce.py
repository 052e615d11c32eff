"""``ait reproduce``: experiments on associative memories, held against theory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ait_cli.output import fail

if TYPE_CHECKING:
    from training.experiments.outcome import Outcome


def reproduce(
    name: Annotated[str | None, typer.Argument(help="The experiment; without a name, all are listed.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for NAME.json, NAME.png and NAME.md.")] = Path(
        "reproduced"
    ),
    full: Annotated[
        bool, typer.Option("--full", help="At the paper's size, or with more trials; takes longer.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of everything random.")] = 0,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            help="For `against-vit`, `block-memory`, `from-vit`, `unknown` and `write-maps`: images in train/ and "
            "test/, one folder per class. For the paper's tables: a folder with cifar10, cifar100, pet and "
            "imagenet100, as far as they are there.",
        ),
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=0, help="Stop after so many seconds of training; the same command goes on. Exit code 3."
        ),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only",
            help="Train only the trials of this pattern, such as 'ait-*-seed-0', and read those that others have "
            "trained: an experiment can be shared out. The files in NAME-trials are named so.",
        ),
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option(
            "--page",
            help="A Markdown page whose section of this name becomes the tables, and whose links to NAME.json and "
            "NAME.png these are put behind.",
        ),
    ] = None,
) -> None:
    """Reproduce an experiment on associative memories, or a table of the paper.

    Checks what it measures against theory, and writes the figures as JSON and a plot, and tables as Markdown. Exit
    code 1 if a figure lies outside the range that theory allows.
    """
    from rich.console import Console

    from training.errors import CheckpointError, DataError, OutputError, TrainingInterrupted
    from training.experiments.budget import OutOfTime
    from training.experiments.run import EXPERIMENTS, RESUMED, describe, run_experiment

    if name is None:
        width = max(map(len, EXPERIMENTS))
        typer.echo("\n".join(f"{each:{width}}  {describe(each)}" for each in EXPERIMENTS))
        return
    _check(name, {"--data": data, "--seconds": seconds, "--only": only})
    progress = Console(stderr=True)
    try:
        with progress.status(f"running {name}"):
            outcome = run_experiment(name, output, full, seed, data, seconds, page, only)
    except OutOfTime as stop:
        progress.print(f"{name}: {stop}", soft_wrap=True, highlight=False)
        raise typer.Exit(3) from None
    except TrainingInterrupted as error:
        then = "the same command goes on from there" if name in RESUMED else "the same command begins anew"
        progress.print(f"{name}: stopped by {error.signal_name}; {then}", soft_wrap=True, highlight=False)
        raise typer.Exit(error.exit_code) from None
    except (DataError, OutputError, CheckpointError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{output}: cannot be written ({error.strerror}).")
    _show(outcome)
    for ending in ("json", "png"):
        progress.print(f"written: {output / f'{name}.{ending}'}", soft_wrap=True, highlight=False)
    if not outcome.passed:
        raise typer.Exit(1)


def _check(name: str, given: dict[str, object]) -> None:
    """Refuse an experiment that there is not, and options that it does not take."""
    from difflib import get_close_matches

    from training.experiments.run import EXPERIMENTS, RESUMED, WITH_DATA

    if name not in EXPERIMENTS:
        near = get_close_matches(name, EXPERIMENTS, 1)
        hint = f"; did you mean {near[0]}?" if near else "."
        fail(f"there is no experiment {name!r}{hint} There is: {', '.join(EXPERIMENTS)}.")
    for option, takers, refusal in (
        ("--data", WITH_DATA, "takes no images"),
        ("--seconds", RESUMED, "runs to its end"),
        ("--only", RESUMED, "is one trial"),
    ):
        if given[option] is not None and name not in takers:
            fail(f"{name} {refusal}; {option} is for: {', '.join(sorted(takers))}.")


def _show(outcome: Outcome) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=outcome.title)
    # Theory's own range has a column where what is allowed here is wider.
    wider = any(check.theory_range for check in outcome.checks)
    for column in ("figure", "measured", "theory", *(("theory's range",) if wider else ()), "allowed", ""):
        table.add_column(column, justify="left" if column in ("figure", "") else "right")
    for check in outcome.checks:
        theory = "" if check.theory is None else f"{check.theory:.4g}"
        own = (_range(*check.theory_range) if check.theory_range else "",) if wider else ()
        verdict = "agrees" if check.passed else "DIFFERS"
        if check.passed and not check.within_theory:
            verdict = "allowed, outside theory's range"
        table.add_row(check.name, f"{check.measured:.4g}", theory, *own, _range(check.low, check.high), verdict)
    Console(width=120).print(table)


def _range(low: float, high: float) -> str:
    return f"{low:.4g} to {high:.4g}"
