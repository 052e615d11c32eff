"""Generate load, with little processor time: the server that is measured runs on the same processors."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from uvicorn.loops.auto import auto_loop_factory

from service.benchmark.connection import Connection, connect

T = TypeVar("T")
Clock = Callable[[], float]

GRACE_SECONDS = 30.0  # for answers that are still to come when the time is over


@dataclass(frozen=True)
class Target:
    """Where requests go, and what they are: one image each.

    Attributes:
        host, port: of the server.
        requests: whole requests as bytes, which are sent in turn.
    """

    host: str
    port: int
    requests: Sequence[bytes]


@dataclass(frozen=True)
class Load:
    """The outcome of a load.

    Attributes:
        seconds: how long it lasted.
        latencies: seconds of each answer with status 200, in the order in which they came.
        failures: count of each other outcome: a status, "lost" for a closed connection, "late" for no answer at all.
        cpu: seconds of processor time that this client took.
    """

    seconds: float
    latencies: np.ndarray
    failures: dict[str, int]
    cpu: float

    @property
    def rate(self) -> float:
        """Answers with status 200 per second."""
        return len(self.latencies) / self.seconds

    @property
    def cpu_share(self) -> float:
        """Share of one processor that this client took."""
        return self.cpu / self.seconds

    def percentile(self, share: float) -> float:
        """Return the seconds within which `share` percent of the answers came; infinite where there were none."""
        return float(np.percentile(self.latencies, share)) if len(self.latencies) else float("inf")


def make_request(path: str, body: bytes, host: str) -> bytes:
    """Return a whole POST request with a JPEG as its body."""
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the fastest event loop that is installed.

    The thread does not interrupt others meanwhile: clients elsewhere do not take the processor from a server either
    with each answer that it writes.
    """
    with _waiting_its_turn(), asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(work)


@contextmanager
def _waiting_its_turn() -> Iterator[None]:
    before = os.sched_getscheduler(0)
    _schedule_as(os.SCHED_BATCH)
    try:
        yield
    finally:
        _schedule_as(before)


def _schedule_as(policy: int) -> None:
    with suppress(OSError):  # a container may forbid it: the server is interrupted more often then
        os.sched_setscheduler(0, policy, os.sched_param(0))


async def ask(target: Target) -> list[tuple[int, bytes]]:
    """Send each request once, one after the other; return the status and the body of each answer.

    Raises:
        ConnectionError: the server closed the connection.
    """
    answers: list[tuple[int, bytes]] = []
    done = asyncio.Event()
    lost = False

    def answered(connection: Connection, status: int) -> None:
        answers.append((status, bytes(connection.body)))
        connection.body.clear()
        done.set()

    def closed(_: Connection) -> None:
        nonlocal lost
        lost = True
        done.set()

    (connection,) = await connect(target.host, target.port, 1, answered, closed)
    for request in target.requests:
        done.clear()
        connection.send(request)
        await done.wait()
        if lost:
            raise ConnectionError("The server closed the connection.")
    connection.close()
    return answers


async def closed_loop(
    target: Target,
    connections: int,
    *,
    seconds: float | None = None,
    lead: float = 0.0,
    requests: int | None = None,
    observe: Callable[[], None] = lambda: None,
    clock: Clock = time.perf_counter,
) -> Load:
    """Keep a fixed number of requests in flight: each connection sends its next one after an answer.

    Args:
        target: what is asked.
        connections: requests in flight.
        seconds: how long answers count.
        lead: seconds before answers count, in which the server's queue fills.
        requests: how many to send, in place of a time.
        observe: called when answers begin to count, and when they no longer do.
        clock: tells seconds.
    """
    log = _Log(clock)
    left = requests
    over = asyncio.Event()
    place = 0
    busy = connections
    counting = ended = False
    load: Load | None = None

    def send(connection: Connection) -> None:
        nonlocal place, left, busy
        now = clock()
        if ended or left == 0:
            busy -= 1
            if not busy:
                over.set()
            return
        if left is not None:
            left -= 1
        place += 1
        connection.came = now
        connection.send(target.requests[place % len(target.requests)])

    def answered(connection: Connection, status: int) -> None:
        if status != 200 or (counting and not ended):
            log.add(status, clock() - connection.came)
        send(connection)

    def closed(_: Connection) -> None:
        nonlocal busy
        log.failures["lost"] += 1
        busy -= 1
        if not busy:
            over.set()

    def begin() -> None:
        nonlocal counting
        counting = True
        log.begin()
        observe()
        if seconds is not None:  # from here on, or the time would be too short where this has come late
            loop.call_later(seconds, end)

    def end() -> None:
        nonlocal ended, load
        ended = True
        load = log.end()
        observe()

    opened = await connect(target.host, target.port, connections, answered, closed)
    loop = asyncio.get_running_loop()
    if seconds is None:
        begin()
    else:
        loop.call_later(lead, begin)
    for connection in opened:
        send(connection)
    try:
        async with asyncio.timeout(None if seconds is None else lead + seconds + GRACE_SECONDS):
            await over.wait()
    except TimeoutError:
        log.failures["late"] += busy
    if load is None:  # all has been sent, or no connection is left
        load = log.end()
    for connection in opened:
        connection.close()
    return replace(load, failures=dict(log.failures))


async def open_loop(
    target: Target,
    rate: float,
    *,
    seconds: float,
    connections: int = 256,
    seed: int = 0,
    clock: Clock = time.perf_counter,
) -> Load:
    """Send requests at random times (a Poisson process), whether or not earlier ones have been answered.

    A latency counts from the time at which the request was due, so that a server that stalls cannot hide it by
    holding up the client.

    Args:
        target: what is asked.
        rate: requests per second, on average.
        seconds: how long requests come; all of them are waited for.
        connections: most requests in flight; more wait here, and their time counts.
        seed: of the times.
        clock: tells seconds.
    """
    random = np.random.default_rng(seed)
    gaps = random.exponential(1 / rate, int(rate * seconds * 2) + 100)
    due = np.cumsum(gaps)
    due = due[due < seconds]
    log = _Log(clock)
    over = asyncio.Event()
    backlog: deque[float] = deque()
    place = answers = 0
    alive = connections
    loop = asyncio.get_running_loop()

    def send(connection: Connection, came: float) -> None:
        connection.came = came
        connection.send(target.requests[place % len(target.requests)])

    def finish() -> None:
        nonlocal answers
        answers += 1
        if answers == len(due):
            over.set()

    def answered(connection: Connection, status: int) -> None:
        log.add(status, clock() - connection.came)
        if backlog:
            send(connection, backlog.popleft())
        else:
            idle.append(connection)
        finish()

    def closed(connection: Connection) -> None:
        nonlocal alive
        log.failures["lost"] += 1
        alive -= 1
        if connection in idle:
            idle.remove(connection)
        else:
            finish()
        if not alive:  # nobody is left to send the others
            log.failures["lost"] += len(due) - answers
            over.set()

    def tick() -> None:
        nonlocal place
        now = clock() - log.start
        while place < len(due) and due[place] <= now:
            came = log.start + due[place]
            if idle:
                send(idle.pop(), came)
            else:
                backlog.append(came)
            place += 1
        if place < len(due):
            # Event loops count milliseconds; to ask for less would keep a processor busy with waiting.
            loop.call_later(max(due[place] - now, 1e-3), tick)

    opened = await connect(target.host, target.port, connections, answered, closed)
    idle = list(opened)
    log.begin()
    if len(due):
        tick()
        try:
            async with asyncio.timeout(seconds + GRACE_SECONDS):
                await over.wait()
        except TimeoutError:
            log.failures["late"] += len(due) - answers
    load = log.end()
    for connection in opened:
        connection.close()
    return load


class _Log:
    """Counts what comes while a load lasts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.latencies: list[float] = []
        self.failures: Counter[str] = Counter()

    def begin(self) -> None:
        self.start, self._cpu = self._clock(), time.process_time()

    def add(self, status: int, seconds: float) -> None:
        if status == 200:
            self.latencies.append(seconds)
        else:
            self.failures[str(status)] += 1

    def end(self) -> Load:
        lasted = self._clock() - self.start
        cpu = time.process_time() - self._cpu
        return Load(lasted, np.array(self.latencies), dict(self.failures), cpu)
