"""Send many requests to a server from several threads, and gather what came back."""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httptools
import httpx

from tests.support.models.small_checkpoints import save_small_checkpoint
from tests.support.servers.running_server import running_server

SECONDS = 60.0  # until an answer is given up
LONG = 1.0  # an answer that takes longer is counted
# What keeps a server small, so that its memory cannot grow because of what it is meant to keep.
_SMALL = {
    "AIT_ACCESS_LOG": "false",
    "AIT_RUNTIME": "torch",  # a second one for explanations, and comparing them, would only take time
    "AIT_MAX_MEMORIES": "4",
    "AIT_MAX_MEMORY_EXAMPLES": "50",
    "AIT_MAX_MEMORY_LABELS": "20",
}


@dataclass
class Report:
    """What came back: how often each status, what should not have, and the slowest answer in seconds.

    Attributes:
        long: Answers that took longer than a second.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_case: str = ""
    long: int = 0

    def took(self, seconds: float, case: str) -> None:
        """Note how long an answer took."""
        self.long += seconds > LONG
        if seconds > self.slowest:
            self.slowest, self.slowest_case = seconds, case

    def __iadd__(self, other: Report) -> Report:
        self.statuses += other.statuses
        self.failures += other.failures
        if other.slowest > self.slowest:
            self.slowest, self.slowest_case = other.slowest, other.slowest_case
        self.long += other.long
        return self


class Answer:
    """An answer, with the attributes of httpx's that fuzz tests read."""

    def __init__(self) -> None:
        self.status_code = 0
        self.headers = httpx.Headers()
        self.content = b""
        self.complete = False

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        return json.loads(self.content)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode()] = value.decode()

    def on_body(self, data: bytes) -> None:
        self.content += data

    def on_message_complete(self) -> None:
        self.complete = True


class RawClient:
    """One connection that stays open; a client that costs a tenth of what httpx's costs."""

    def __init__(self, url: str) -> None:
        parsed = httpx.URL(url)
        assert parsed.port
        self._address = (parsed.host, parsed.port)
        self._connection: socket.socket | None = None

    def get(self, path: str) -> Answer:
        """Ask for a path."""
        return self.request("GET", path)

    def post(self, path: str, **options: Any) -> Answer:
        """Send a body, with the options of `request`."""
        return self.request("POST", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        files: Sequence[tuple[str, bytes]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request and wait for its answer.

        Args:
            method: Of the request.
            path: With its query; what no URL may hold is escaped.
            content: Its body.
            files: Name and content of each part, for a body that is a form.
            headers: Further fields.

        Raises:
            ConnectionError: The connection was closed without an answer.
            TimeoutError: Nothing came.
        """
        if files is not None:
            headers = {**(headers or {}), "content-type": "multipart/form-data; boundary=boundary"}
            part = '--boundary\r\nContent-Disposition: form-data; name="%s"; filename="file"\r\n\r\n'
            content = b"".join((part % name).encode() + data + b"\r\n" for name, data in files) + b"--boundary--\r\n"
        content = content or b""
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        length = f"content-length: {len(content)}"
        head = "\r\n".join([f"{method} {_target(path)} HTTP/1.1", "host: localhost", length, *lines, "", ""])
        request = head.encode() + content
        reused = self._connection is not None
        try:
            return self._exchange(request)
        except ConnectionError:
            self.close()
            if not reused:
                raise
            return self._exchange(request)  # the server had closed it meanwhile

    def _exchange(self, request: bytes) -> Answer:
        if self._connection is None:
            self._connection = socket.create_connection(self._address, timeout=SECONDS)
            self._connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = Answer()
        parser = httptools.HttpResponseParser(answer)
        with suppress(ConnectionError):  # refused before all was sent; the answer is there to be read
            self._connection.sendall(request)
        while not answer.complete:
            data = self._connection.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the server closed the connection without an answer")
            parser.feed_data(data)
        answer.status_code = parser.get_status_code()
        if not parser.should_keep_alive():
            self.close()
        return answer

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


@lru_cache(1000)
def _target(path: str) -> str:
    return httpx.URL("http://localhost" + path).raw_path.decode()


class HealthProbe:
    """Asks after a server's health beside everything else.

    Attributes:
        slowest: The longest that an answer took, in seconds.
        latest: The longest that this thread itself was kept waiting: where the machine has no time for it, a slow
            answer says nothing of the server.
        failures: Answers that were no 200.
    """

    _EVERY = 0.02

    def __init__(self, url: str) -> None:
        self._client, self._stop = RawClient(url), threading.Event()
        self.slowest = self.latest = 0.0
        self.failures: list[str] = []

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Ask from a thread of its own within this context."""
        thread = threading.Thread(target=self._ask, name="health")
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            thread.join()

    def _ask(self) -> None:
        while not self._stop.is_set():
            asked = time.perf_counter()
            time.sleep(self._EVERY)
            began = time.perf_counter()
            self.latest = max(self.latest, began - asked - self._EVERY)
            try:
                status = self._client.get("/health/live").status_code
            except OSError as error:
                self.failures.append(f"/health/live: {error}")
                return
            self.slowest = max(self.slowest, time.perf_counter() - began)
            if status != 200:
                self.failures.append(f"/health/live answered {status}")


@dataclass(frozen=True)
class Part:
    """A share of the cases: which seed, and how many."""

    seed: int
    cases: int


Fuzz = Callable[[str, Part], Report]  # of the server at an address


def run(description: str | None, fuzz: Fuzz, *arguments: str, **environment: str) -> int:
    """Read the command line, start a server, and send it all cases in parts, each of a seed of its own.

    Args:
        description: Of the command.
        fuzz: Sends one part, on a thread of its own.
        *arguments: Further options of the server.
        **environment: Variables to set for it.

    Returns:
        The exit code: 1 if anything came that must not.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first part; the others count on from it")
    parser.add_argument("--part", type=int, default=5_000, help="cases of a seed")
    parser.add_argument("--clients", type=int, default=4, help="parts that are sent at the same time")
    parser.add_argument("--seconds", type=float, help="after which no other part is begun")
    parser.add_argument("--model", help="folder of the model; default: a small one that is made")
    options = parser.parse_args()
    starts = range(0, options.cases, options.part)
    parts = [Part(options.seed + n, min(options.part, options.cases - at)) for n, at in enumerate(starts)]
    total, sent = Report(), 0
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as log:
        model = options.model or save_small_checkpoint(Path(folder, "small"), name="ait_tiny_patch4_32")
        environment = {**_SMALL, "AIT_MEMORIES": str(Path(folder, "memories.sqlite3")), **environment}
        with (
            running_server(*arguments, "--model", str(model), stderr=log, **environment) as (url, server),
            ThreadPoolExecutor(options.clients) as pool,
        ):
            fuzz(url, Part(options.seed + len(parts), 200))  # everything has been loaded and explained once
            start, began = resident(server), time.perf_counter()
            print(f"{start:.1f} MB at the start", flush=True)
            probe = HealthProbe(url)
            with probe.asking():
                futures = [pool.submit(fuzz, url, part) for part in parts]
                for part, future in zip(parts, futures, strict=True):
                    if not future.cancelled():
                        total += future.result()
                        sent += part.cases
                        _say(server, part, total, probe, sent, time.perf_counter() - began)
                    if options.seconds and time.perf_counter() - began > options.seconds:
                        _cancel(futures)
            end = resident(server)
        log.seek(0)
        logged = Counter(_errors(log.read()))
    total.failures += probe.failures
    print(f"{sent} cases, seeds from {options.seed}, statuses {dict(sorted(total.statuses.items()))}")
    print(f"slowest {total.slowest:.3f} s ({total.slowest_case}); {total.long} took longer than {LONG:g} s")
    print(f"health: slowest {probe.slowest:.3f} s; the probe itself was kept waiting {probe.latest:.3f} s")
    print(f"memory: {start:.1f} MB at the start, {end:.1f} MB at the end")
    print(f"errors in the server's log: {logged.total()}")
    for message, count in logged.most_common(10):
        print(f"{count:7} {message[:300]}")
    print(f"{len(total.failures)} failures", *total.failures[:20], sep="\n")
    return int(bool(total.failures or logged))


def _say(server: int, part: Part, total: Report, probe: HealthProbe, sent: int, seconds: float) -> None:
    threads = len(list(Path(f"/proc/{server}/task").iterdir()))
    print(
        f"seed {part.seed}: {sent} cases, {sent / seconds:.0f} a second, {resident(server):.1f} MB, "
        f"{threads} threads, {len(total.failures)} failures, slowest {total.slowest:.3f} s, "
        f"health {probe.slowest:.3f} s, kept waiting {probe.latest:.3f} s",
        flush=True,
    )


def _cancel(futures: list[Future[Report]]) -> None:
    """Begin no other part; those that have been begun are waited for."""
    for future in futures:
        future.cancel()


def _errors(log: str) -> Iterator[str]:
    """What a server has logged as an error, each with the last line of its traceback."""
    for line in log.splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            yield line  # of a library, or of Python itself
            continue
        if record["level"] in ("error", "critical"):
            yield f"{record['message'].splitlines()[0]} {record.get('exception', '').rpartition(chr(10))[2]}"


def resident(pid: int) -> float:
    """Return the memory of a process and its descendants, in megabytes."""
    pages, pending = 0, [pid]
    while pending:
        each = pending.pop()
        pages += int(Path(f"/proc/{each}/statm").read_text().split()[1])
        for task in Path(f"/proc/{each}/task").iterdir():
            pending += map(int, (task / "children").read_text().split())
    return pages * 4096 / 1e6
