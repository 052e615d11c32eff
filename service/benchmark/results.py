"""The figures of a benchmark as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from service.benchmark.plain_loop import LoopConfig

LOAD = 0.8  # share of saturation at which latency is judged


@dataclass(frozen=True)
class Round:
    """The figures of one round; times are in seconds, rates in images per second.

    Attributes:
        raw_rate, raw_batch, raw_single: the plain loop's rate, and its time for a batch and for one image.
        raw_cpu: processor time of the plain loop per image.
        rate: of the server at saturation.
        single: median latency with one request at a time.
        offered: rate at which requests came, at random times, for the next two.
        p50, p99: latencies at that rate.
        server_cpu: processor time of the server per image at saturation; None on another machine.
        client_cpu: share of one processor that the client took at saturation.
        others: processors that all other programs took at saturation; None if the server is on another machine.
        failures: requests that were not answered with status 200, by cause.
        runtime, precision: what the server ran the model in.
    """

    raw_rate: float
    raw_batch: float
    raw_single: float
    raw_cpu: float
    rate: float
    single: float
    offered: float
    p50: float
    p99: float
    server_cpu: float | None
    client_cpu: float
    others: float | None
    failures: dict[str, int]
    runtime: str = ""
    precision: str = ""


@dataclass(frozen=True)
class Summary:
    """Medians over the rounds.

    Attributes:
        rate: images per second at saturation.
        throughput: `rate` over the plain loop's.
        added: seconds that one request at a time takes longer than an image in the plain loop.
        p99: seconds, at `LOAD` of the saturation that was found right before.
        p99_batches: `p99` over the plain loop's time for a batch.
        raw_cpu, server_cpu, client_cpu, others: as in `Round`.
        failures: of all rounds.
        runtime, precision: as in `Round`.
    """

    rate: float
    throughput: float
    added: float
    p99: float
    p99_batches: float
    raw_cpu: float
    server_cpu: float | None
    client_cpu: float
    others: float | None
    failures: dict[str, int]
    runtime: str
    precision: str


@dataclass(frozen=True)
class ServerResult:
    """All rounds of one server."""

    system: str
    rounds: list[Round]

    @property
    def summary(self) -> Summary:
        """The medians over the rounds."""
        cpu = [each.server_cpu for each in self.rounds if each.server_cpu is not None]
        others = [each.others for each in self.rounds if each.others is not None]
        return Summary(
            rate=median(each.rate for each in self.rounds),
            throughput=median(each.rate / each.raw_rate for each in self.rounds),
            added=median(each.single - each.raw_single for each in self.rounds),
            p99=median(each.p99 for each in self.rounds),
            p99_batches=median(each.p99 / each.raw_batch for each in self.rounds),
            raw_cpu=median(each.raw_cpu for each in self.rounds),
            server_cpu=median(cpu) if cpu else None,
            client_cpu=median(each.client_cpu for each in self.rounds),
            others=median(others) if others else None,
            failures=add_up(each.failures for each in self.rounds),
            runtime=self.rounds[0].runtime,
            precision=self.rounds[0].precision,
        )


@dataclass(frozen=True)
class MemoryGrowth:
    """Memory of the service (RSS of all its processes) while it answers requests.

    Attributes:
        samples: (requests answered, bytes), in the order in which they were taken.
        failures: requests that were not answered with status 200, by cause.
    """

    samples: list[tuple[int, int]]
    failures: dict[str, int]

    @property
    def growth(self) -> float:
        """The bytes of the last sample over those of the first."""
        return self.samples[-1][1] / self.samples[0][1]


@dataclass(frozen=True)
class ServiceBenchmark:
    """A whole benchmark.

    Attributes:
        model: its name.
        images: what was sent, in words.
        processors: how many of the machine's may be used.
        config: of the plain loop.
        connections: requests in flight at saturation.
        servers: the figures of each.
        memory: None unless it was asked for.
        runtime: of the plain loop, and its precision; those of the servers are in their figures.
    """

    model: str
    images: str
    processors: int
    config: LoopConfig
    connections: int
    servers: list[ServerResult]
    memory: MemoryGrowth | None = None
    runtime: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return everything, with the summaries, as values that JSON can hold."""
        servers = [
            {"system": each.system, "summary": asdict(each.summary), "rounds": [asdict(one) for one in each.rounds]}
            for each in self.servers
        ]
        return {**asdict(self), "servers": servers}


def add_up(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Add several counts by cause."""
    total: dict[str, int] = {}
    for each in counts:
        for cause, count in each.items():
            total[cause] = total.get(cause, 0) + count
    return total
