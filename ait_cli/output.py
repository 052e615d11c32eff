"""What commands print: refusals, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.table import Table


def fail(message: str) -> NoReturn:
    """Print an error to stderr and end the command.

    Args:
        message: Names the input and the remedy.

    Raises:
        typer.Exit: Always, with exit code 1.
    """
    typer.echo(f"error: {message}", err=True)
    raise typer.Exit(1)


def write_json(result: Mapping[str, Any], path: Path | None) -> None:
    """Write a result as indented JSON.

    Args:
        result: What to write.
        path: The file; None writes nothing.
    """
    if path is not None:
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def model_table(result: Mapping[str, Any]) -> Table:
    """Lay out the result of `ait.benchmark.benchmark_model` as a table.

    Args:
        result: The result's ``to_dict()``.
    """
    from rich.table import Table

    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s" for name, rate in result["gemm_gflops"].items())
    table = Table(title=f"{result['device']}, {result['threads']} threads; best matrix product: {rates}")
    for column in ("model", "phase", "precision", "batch", "images/s", "GFLOP/image", "of GEMM rate"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for case in result["measurements"]:
        table.add_row(
            case["model"],
            case["phase"],
            case["precision"],
            str(case["batch_size"]),
            f"{case['images_per_second']:.1f}",
            f"{case['gflop_per_image']:.2f}",
            f"{case['gemm_fraction']:.2f}",
        )
    return table


def training_table(result: Mapping[str, Any]) -> Table:
    """Lay out the result of `training.benchmark.throughput.benchmark_training` as a table.

    Args:
        result: The result's ``to_dict()``.
    """
    from rich.table import Table

    table = Table(
        title=f"{result['model']}, batch {result['batch_size']}, {result['precision']}, {result['device']}, "
        f"{result['threads']} threads, {result['workers']} workers"
    )
    for column in ("images from", "images/s", "of the synthetic rate"):
        table.add_column(column, justify="left" if column == "images from" else "right")
    for case in result["throughputs"]:
        table.add_row(case["feed"], f"{case['images_per_second']:.1f}", f"{case['share']:.3f}")
    return table


def memory_tables(result: Mapping[str, Any]) -> list[Table]:
    """Lay out the result of `training.benchmark.memory.to_json` as tables.

    Args:
        result: The result.
    """
    from rich.table import Table

    speed = Table(title="a memory of classes, milliseconds")
    for case in result["speed"]:
        if not speed.columns:
            for column in case:
                speed.add_column(column.replace("_", " "), justify="right")
        speed.add_row(*(f"{value:,}" if isinstance(value, int) else f"{value:.2f}" for value in case.values()))
    tables = [speed]
    if result["accuracy"]:
        accuracy = Table(title=f"accuracy on {result['accuracy'][0]['images']} images, percent")
        for column in ("examples per class", *result["accuracy"][0]["readouts"], "linear probe"):
            accuracy.add_column(column, justify="right")
        for case in result["accuracy"]:
            shares = [*case["readouts"].values(), case["probe"]]
            accuracy.add_row(str(case["per_class"]), *(f"{share:.1%}".removesuffix("%") for share in shares))
        tables.append(accuracy)
    return tables


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr, where that is a terminal, for the time of a ``with`` block.

    Args:
        title: What is being done.

    Yields:
        A function that is told how many of how many are done.
    """
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
