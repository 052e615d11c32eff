"""The figures of a benchmark as a table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median

from rich.console import Console
from rich.table import Table

from service.benchmark.recall import RecallBenchmark
from service.benchmark.results import LOAD, ServiceBenchmark, add_up

DISTURBED = 0.1  # processors that others may take before the figures are in doubt


def print_benchmark(result: ServiceBenchmark, console: Console) -> None:
    """Print the figures, and warnings where they are in doubt."""
    console.print(_speed(result))
    for server in result.servers:
        found = server.summary
        _print_doubts(server.system, found.failures, found.others, console)
    _print_unlike(result, console)
    if result.memory:
        samples = result.memory.samples
        sizes = "; ".join(f"{size / 1e6:.1f} MB after {requests:,}" for requests, size in (samples[0], samples[-1]))
        console.print(f"memory of the service: {sizes} requests: x {result.memory.growth:.3f}", highlight=False)


def print_recall(result: RecallBenchmark, console: Console) -> None:
    """Print the figures, and a warning where they are in doubt."""
    table = Table(
        title=f"{result.model}, a memory of {result.examples:,} examples of {result.images:,} images, "
        f"{result.width} numbers each, "
        f"{result.processors} processors, {result.connections} connections",
        caption=f"medians of {len(result.rounds)} rounds in turns",
    )
    for column in ("", "images/s", "of classify", "alone", "added alone"):
        table.add_column(column, justify="right" if column else "left")
    classify, recall = result.medians("classify"), result.medians("recall")
    table.add_row("classify", f"{classify[0]:.1f}", "1.00", f"{classify[1] * 1e3:.2f} ms", "")
    table.add_row(
        "recall",
        f"{recall[0]:.1f}",
        f"{result.throughput:.2f}",
        f"{recall[1] * 1e3:.2f} ms",
        f"{result.added * 1e3:.2f} ms",
    )
    console.print(table)
    failures = add_up(each.failures for each in result.rounds)
    _print_doubts("ait", failures, median(each.others for each in result.rounds), console)


def _print_doubts(server: str, failures: Mapping[str, int], others: float | None, console: Console) -> None:
    """Say why a server's figures may be wrong, if anything was seen."""
    if failures:
        counts = ", ".join(f"{cause}: {count}" for cause, count in failures.items())
        console.print(f"{server}: requests that failed, by status: {counts}", highlight=False)
    if others is not None and others > DISTURBED:
        console.print(
            f"{server}: other programs took {others:.1f} processors; stop them and measure again.", highlight=False
        )


def _print_unlike(result: ServiceBenchmark, console: Console) -> None:
    """Say which servers' figures are not of the plain loop's precision."""
    precision = result.runtime.rpartition(" ")[2]
    for server in result.servers:
        found = server.summary
        if found.precision != precision:
            console.print(
                f"{server.system}: computes in {found.precision}, the model without a server in {precision}; compare "
                f"servers of one precision, such as with --precision {found.precision}.",
                highlight=False,
            )


def _speed(result: ServiceBenchmark) -> Table:
    config = result.config
    where = "several threads" if config.pooled else "the thread that runs them"
    how = f"{config.streams} loops side by side, " if config.streams > 1 else ""
    table = Table(
        title=f"{result.model}, {result.images}, {result.processors} processors, {result.connections} connections",
        caption=f"raw: the model without a server in {result.runtime}, {how}batches of {config.batch_size}, "
        f"decoded on {where}; "
        f"p99 at {LOAD:.0%} of each server's own saturation",
    )
    for column in (
        "server", "model in", "images/s", "of raw", "added alone", "p99", "raw batches", "CPU : raw", "client's CPU",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column in ("server", "model in") else "right")
    for server in result.servers:
        found = server.summary
        table.add_row(
            server.system,
            f"{found.runtime} {found.precision}",
            f"{found.rate:.1f}",
            f"{found.throughput:.2f}",
            f"{found.added * 1e3:.2f} ms",
            f"{found.p99 * 1e3:.1f} ms",
            f"{found.p99_batches:.2f}",
            "" if found.server_cpu is None else f"{found.server_cpu * 1e3:.2f} : {found.raw_cpu * 1e3:.2f} ms",
            f"{found.client_cpu:.0%}",
        )
    return table
