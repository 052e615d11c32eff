"""Measure servers against the plain loop (`service.benchmark.plain_loop`), in turns within one run.

Absolute times say more about the machine than about a server, and a shared machine's speed wanders by a factor of
two within seconds. Each figure is therefore a ratio to what the plain loop did right before and after, and of the
rounds' ratios the median counts.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.request import urlopen

from service.benchmark import client
from service.benchmark.client import Target
from service.benchmark.plain_loop import PlainLoop
from service.benchmark.processes import busy_seconds
from service.benchmark.results import LOAD, MemoryGrowth, Round, ServerResult, add_up
from service.benchmark.systems import Running, ServerError, System, started

WARM_SECONDS = 2.0
SCORE_TOLERANCE = 2e-3
SOAK_STEP = 10_000  # requests between two looks at the memory

Progress = Callable[[str], None]


class Measurement:
    """Measures servers, one round at a time, against the same plain loop with the same images."""

    def __init__(
        self,
        plain_loop: PlainLoop,
        images: Sequence[bytes],
        *,
        connections: int,
        seconds: float,
        progress: Progress,
    ) -> None:
        """Find the plain loop's best configuration, which takes a while.

        Args:
            plain_loop: the model without a server, over the same images.
            images: contents of JPEG files.
            connections: requests in flight at saturation.
            seconds: how long each load lasts; the plain loop runs half as long before and after it.
            progress: called with a few words about each step.
        """
        self._plain_loop, self._images = plain_loop, images
        self.connections, self._seconds, self._progress = connections, seconds, progress
        self._runs_in = plain_loop.runtime()
        self._expected: dict[str, list[tuple[str, float]]] = {}
        progress("the plain loop: looking for its best batch size")
        self.config = plain_loop.best_config(seconds / 10)

    def round(self, system: System, running: Running) -> Round:
        """Check the answers of a server and measure it once."""
        target = self.target(system, running)
        runtime, precision = told(running) if system.tells else system.runs_in(self._runs_in)
        self._check(system, target, precision)
        half = self._seconds / 2

        self._progress(f"{system.name}: saturation")
        rates = [self._plain_loop.rate(self.config, half)]
        seen: list[tuple[float, float]] = []
        full = client.run(
            client.closed_loop(
                target,
                self.connections,
                seconds=self._seconds,
                lead=WARM_SECONDS,
                observe=lambda: seen.append((running.processes.cpu() if running.processes else 0.0, busy_seconds())),
            )
        )
        rates.append(self._plain_loop.rate(self.config, half))
        if not len(full.latencies):
            raise ServerError(f"{system.name} answered no request at saturation: {full.failures}")
        cpu, busy = (after - before for before, after in zip(seen[0], seen[-1], strict=True))

        self._progress(f"{system.name}: one request at a time")
        singles = [self._plain_loop.single(half / 2)]
        lone = client.run(client.closed_loop(target, 1, seconds=half))
        singles.append(self._plain_loop.single(half / 2))

        offered = LOAD * full.rate
        self._progress(f"{system.name}: {offered:.0f} requests per second")
        batches = [self._plain_loop.rate(self.config, half)]
        steady = client.run(client.open_loop(target, offered, seconds=self._seconds))
        batches.append(self._plain_loop.rate(self.config, half))
        return Round(
            raw_rate=sum(rate.images for rate in rates) / 2,
            raw_cpu=sum(rate.cpu for rate in rates) / 2,
            raw_batch=sum(self.config.batch_seconds(rate.images) for rate in batches) / 2,
            raw_single=sum(singles) / 2,
            rate=full.rate,
            single=lone.percentile(50),
            offered=offered,
            p50=steady.percentile(50),
            p99=steady.percentile(99),
            server_cpu=cpu / len(full.latencies) if running.processes else None,
            client_cpu=full.cpu_share,
            others=max(busy - cpu - full.cpu, 0.0) / self._seconds if running.processes else None,
            failures=add_up(load.failures for load in (full, lone, steady)),
            runtime=runtime,
            precision=precision,
        )

    def target(self, system: System, running: Running) -> Target:
        """Return the requests for a server."""
        requests = [client.make_request(system.path, image, running.host) for image in self._images]
        return Target(running.host, running.port, requests)

    def _check(self, system: System, target: Target, precision: str) -> None:
        """Raise `ServerError` where a server answers something else than the model in the server's precision."""
        if precision not in self._expected:
            self._expected[precision] = self._plain_loop.labels(precision)
        few = Target(target.host, target.port, target.requests[:16])
        for (status, body), (label, score) in zip(
            client.run(client.ask(few)), self._expected[precision], strict=False
        ):
            try:
                best = json.loads(body)["predictions"][0]["labels"][0]
            except (ValueError, KeyError, IndexError, TypeError):
                raise ServerError(f"{system.name} answered {status}: {body[:300]!r}") from None
            if abs(best["score"] - score) > SCORE_TOLERANCE:
                raise ServerError(
                    f"{system.name} answered {best['label']!r} with {best['score']:.4f} where the model in "
                    f"{precision} says {label!r} with {score:.4f}: it serves another model."
                )


def told(running: Running) -> tuple[str, str]:
    """Ask the service what it runs its default model in: the runtime and the precision.

    Raises:
        ServerError: it does not say.
    """
    try:
        with urlopen(f"http://{running.host}:{running.port}/v1/models", timeout=30) as response:
            models = json.load(response)
        found = next(each["runtime"] for each in models["models"] if each["name"] == models["default"])
        return str(found["name"]), str(found["precision"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise ServerError(f"/v1/models does not say what the service runs its model in ({error!r}).") from error


def measure(
    measurement: Measurement,
    systems: Sequence[System],
    model: Path,
    device: str,
    rounds: int,
    progress: Progress,
    environment: Mapping[str, str] | None = None,
) -> list[ServerResult]:
    """Start each server in turn, measure it and stop it, a number of times.

    Only one of them runs at a time: some of them keep a processor busy when they have nothing to do.

    Raises:
        ServerError: a server did not start, or answers something else than the model.
    """
    found: dict[str, list[Round]] = {system.name: [] for system in systems}
    for _ in range(rounds):
        for system in systems:
            progress(f"{system.name}: starting")
            with started(system, model, device, environment) as running:
                found[system.name].append(measurement.round(system, running))
    return [ServerResult(name, results) for name, results in found.items()]


def soak(
    measurement: Measurement, system: System, running: Running, requests: int, progress: Progress
) -> MemoryGrowth:
    """Send many requests and read the server's memory after each `SOAK_STEP` of them.

    Raises:
        ServerError: its processes are not on this machine, or it answered nothing.
    """
    if running.processes is None:
        raise ServerError("The memory of a server on another machine cannot be seen; leave out --soak.")
    target, sent, samples, failures = measurement.target(system, running), 0, [], []
    while sent < requests:
        progress(f"{system.name}: memory, {sent:,} of {requests:,} requests")
        part = min(SOAK_STEP, requests - sent)
        load = client.run(client.closed_loop(target, measurement.connections, requests=part))
        if not len(load.latencies):
            raise ServerError(f"{system.name} answered no request: {load.failures}")
        sent += part
        failures.append(load.failures)
        samples.append((sent, running.processes.memory()))
    return MemoryGrowth(samples, add_up(failures))
