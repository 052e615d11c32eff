"""What a run found, as tables for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from service.benchmark.results import LOAD, MemoryGrowth, ServiceBenchmark


def print_benchmark(result: ServiceBenchmark, console: Console) -> None:
    """Prints all of it."""
    console.print(_speed(result))
    for server in result.servers:
        if failures := server.summary.failures:
            counts = ", ".join(f"{cause}: {count}" for cause, count in failures.items())
            console.print(f"{server.system}: requests that failed, by status: {counts}", highlight=False)
    if result.memory:
        console.print(_memory(result.memory))


def _speed(result: ServiceBenchmark) -> Table:
    way = result.way
    where = "several threads" if way.pooled else "one thread"
    table = Table(
        title=f"{result.model}, {result.pictures}, {result.processors} processors, {result.connections} connections",
        caption=f"raw: the model without a server, batches of {way.batch_size}, decoded on {where}; "
        f"p99 at {LOAD:.0%} of each server's own saturation",
    )
    for column in (
        "server", "pictures/s", "of raw", "added alone", "p99", "raw batches", "CPU a picture", "client's CPU",
    ):  # fmt: skip
        table.add_column(column, justify="left" if column == "server" else "right")
    for server in result.servers:
        found = server.summary
        table.add_row(
            server.system,
            f"{found.rate:.1f}",
            f"{found.throughput:.2f}",
            f"{found.added * 1e3:.2f} ms",
            f"{found.p99 * 1e3:.1f} ms",
            f"{found.p99_batches:.2f}",
            "" if found.server_cpu is None else f"{found.server_cpu * 1e3:.2f} ms",
            f"{found.client_cpu:.0%}",
        )
    return table


def _memory(memory: MemoryGrowth) -> Table:
    table = Table(title=f"Memory of the service: x {memory.growth:.3f}")
    table.add_column("requests", justify="right")
    table.add_column("RSS", justify="right")
    first, last = memory.samples[0], memory.samples[-1]
    for requests, size in [first, last] if first != last else [first]:
        table.add_row(f"{requests:,}", f"{size / 1e6:.1f} MB")
    return table
