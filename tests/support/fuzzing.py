"""Send many requests to a server from several threads, and gather what came back."""

from __future__ import annotations

import argparse
import json
import socket
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httptools
import httpx

from tests.support.running_server import running_server

SECONDS = 60.0  # until an answer is given up


@dataclass
class Report:
    """What came back: how often each status, what should not have, and the slowest answer in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest: float = 0.0
    slowest_case: str = ""

    def took(self, seconds: float, case: str) -> None:
        """Note how long an answer took."""
        if seconds > self.slowest:
            self.slowest, self.slowest_case = seconds, case

    def __iadd__(self, other: Report) -> Report:
        self.statuses += other.statuses
        self.failures += other.failures
        self.took(other.slowest, other.slowest_case)
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

    def post(
        self,
        path: str,
        *,
        content: bytes | None = None,
        files: Sequence[tuple[str, bytes]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        if files is not None:
            headers = {**(headers or {}), "content-type": "multipart/form-data; boundary=boundary"}
            part = '--boundary\r\nContent-Disposition: form-data; name="%s"; filename="file"\r\n\r\n'
            content = b"".join((part % name).encode() + data + b"\r\n" for name, data in files) + b"--boundary--\r\n"
        content = content or b""
        target = httpx.URL("http://localhost" + path).raw_path.decode()
        lines = [f"{name}: {value}" for name, value in (headers or {}).items()]
        head = [f"POST {target} HTTP/1.1", "host: localhost", f"content-length: {len(content)}", *lines, "", ""]
        request = "\r\n".join(head).encode() + content
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
    parser.add_argument("--part", type=int, default=10_000, help="cases of a seed")
    parser.add_argument("--clients", type=int, default=4, help="parts that are sent at the same time")
    parser.add_argument("--model", help="folder of the model; default: the bundled one")
    options = parser.parse_args()
    starts = range(0, options.cases, options.part)
    parts = [Part(options.seed + n, min(options.part, options.cases - at)) for n, at in enumerate(starts)]
    total, sent, began = Report(), 0, time.perf_counter()
    chosen = ["--model", options.model] if options.model else []
    environment = {"AIT_ACCESS_LOG": "false", **environment}
    with tempfile.TemporaryFile("w+") as log:
        with (
            running_server(*arguments, *chosen, stderr=log, **environment) as (url, server),
            ThreadPoolExecutor(options.clients) as pool,
        ):
            for part, report in zip(parts, pool.map(lambda part: fuzz(url, part), parts), strict=True):
                total += report
                sent += part.cases
                rate = sent / (time.perf_counter() - began)
                threads = len(list(Path(f"/proc/{server}/task").iterdir()))
                print(
                    f"seed {part.seed}: {sent} cases, {rate:.0f} a second, {resident(server):.1f} MB, "
                    f"{threads} threads, {len(total.failures)} failures, "
                    f"slowest {total.slowest:.3f} s ({total.slowest_case})",
                    flush=True,
                )
        log.seek(0)
        logged = Counter(_errors(log.read()))
    print(f"statuses {dict(sorted(total.statuses.items()))}")
    print(f"slowest {total.slowest:.3f} s: {total.slowest_case}")
    print(f"errors in the server's log: {logged.total()}")
    for message, count in logged.most_common(10):
        print(f"{count:7} {message[:300]}")
    print(f"{len(total.failures)} failures", *total.failures[:20], sep="\n")
    return int(bool(total.failures or logged))


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
