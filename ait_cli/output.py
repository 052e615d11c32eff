"""What commands print: refusals, tables and JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
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

    library = result["gemm_library"]
    rates = ", ".join(f"{name} {rate:.0f} GFLOP/s ({library[name]})" for name, rate in result["gemm_gflops"].items())
    table = Table(title=f"{result['device']}, {result['threads']} threads; best matrix product: {rates}")
    for column in ("model", "phase", "runtime", "precision", "batch", "images/s", "of GEMM rate", "same label"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for case in result["measurements"]:
        table.add_row(
            case["model"],
            case["phase"],
            case["runtime"],
            case["precision"],
            str(case["batch_size"]),
            f"{case['images_per_second']:.1f}",
            f"{case['gemm_fraction']:.2f}",
            f"{case['agreement']['same_label']:.2%}" if case["agreement"] else "",
        )
    table.caption = "\n".join(f"left out: {name}: {reason}" for name, reason in result["left_out"].items()) or None
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
