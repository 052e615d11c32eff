"""Mutated requests to every route, as bytes on a connection; none may bring an internal error, or wait for ever.

    python -m tests.support.fuzz.http --cases 20000

starts a server, sends it that many, each on a connection that is half-closed after it, and reports statuses, the
slowest answer and the memory of its processes.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx

from tests.support.fuzz.sending import SECONDS, Part, Report, run
from tests.support.images.service_images import encode, scene
from tests.support.servers.memories_client import zipped

_STATUS = re.compile(rb"(?:^|\n|\}|>)HTTP/1\.1 (\d{3}) ")
_ODD_VALUES = (
    *("", "0", "-1", "1e9", "99999999999999999999", "0x10", "nan", "inf", "chunked", "gzip", "gzip, gzip", "identity"),
    *("br", "close", "keep-alive", "upgrade", "100-continue", "multipart/form-data", "multipart/form-data; boundary="),
    *("image/jpeg", "application/json", "text/plain; charset=\xff", "é", "\x00", "a" * 5000, "bytes=0-", "*/*;q=x"),
    *("localhost", "evil.example", "[::1", "Bearer x", "Basic =", "/a", "//", "http://a", 'W/"x"', "\t x \t"),
)
_ODD_FIELDS = (
    *("Content-Length", "Transfer-Encoding", "Content-Type", "Content-Encoding", "Expect", "Host", "Connection"),
    *("Upgrade", "Range", "If-None-Match", "Accept", "Origin", "Authorization", "X-API-Key", "X-Request-ID"),
    *("X-Request-Timeout", "X-Forwarded-Prefix", "X-Forwarded-For", "Inference-Header-Content-Length", "Cookie", "T"),
)
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "PRI", "X")
_PIECES = (b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%00", b"%2f", b"..", b"//", b"?", b"#", b"\xff", b"&a=")
_BOUNDARY = b"--boundary"


def seeds(model: str) -> list[bytes]:
    """Requests that are answered, at least one for every route."""
    image, large = encode(scene(), "JPEG"), encode(scene(300, 200))
    part = b'Content-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
    form = (
        b"".join(b"\r\n".join((_BOUNDARY, part)) + each + b"\r\n" for each in (image, large)) + _BOUNDARY + b"--\r\n"
    )
    pixels = {"name": "pixels", "shape": [1, 3, 2, 2], "datatype": "FP32", "data": [0] * 12}
    tensors = json.dumps({"id": "1", "inputs": [pixels]}).encode()
    forms = {"Content-Type": "multipart/form-data; boundary=boundary"}
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(image), image)
    paths = [
        *(
            "/",
            "/docs",
            "/openapi.json",
            "/ui/classify/classify.js",
            "/ui/../app.js",
            "/health/live",
            "/health/ready",
            "/metrics",
        ),
        *("/v1/models", f"/v1/models/{model}", "/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{model}"),
        *(f"/v2/models/{model}/{what}" for what in ("ready", "config", "stats", "versions/1", "versions/1/ready")),
        *(f"/v1/models/{model}/versions/1", "/v2/models/stats", "/v2/models"),
    ]
    return [
        *(_request("GET", path) for path in paths),
        *(_request("POST", f"/v1/{what}", image) for what in ("classify", "classify?top_k=2", "embed", "explain")),
        _request("POST", f"/v1/models/{model}/classify", large),
        _request("POST", f"/v1/models/{model}/versions/1/classify", large),
        _request("POST", "/v1/classify", form, forms),
        _request("POST", "/v1/classify", b"preamble\r\n" + form, forms),
        _request("POST", "/v1/classify", gzip.compress(image), {"Content-Encoding": "gzip"}),
        _request("POST", "/v1/classify", chunks, {"Transfer-Encoding": "chunked"}, length=False),
        _request("POST", "/v1/classify", image, {"Expect": "100-continue", "X-Request-Timeout": "5"}),
        _request("POST", "/v2/repository/index", b"{}"),
        _request("POST", f"/v2/repository/models/{model}/unload", b"{}"),
        _request("POST", f"/v2/models/{model}/infer", tensors),
        _request("PUT", "/v1/memories/m", b'{"readout": "prototype"}'),
        _request("PUT", "/v1/memories/m/examples/a?label=ant", image),
        _request("POST", "/v1/memories/m/examples", zipped({"ant/1.jpg": image, "bee/2.png": large})),
        _request("POST", "/v1/memories/m/recall", image),
        _request("PATCH", "/v1/memories/m/examples/a", b'{"label": "bee"}'),
        *(_request("GET", f"/v1/memories{what}") for what in ("", "/m", "/m/health", "/m/file", "/m/examples")),
        _request("DELETE", "/v1/memories/m/examples/a", fields={"If-Match": "*"}),
        _request("GET", "/health/live") + _request("GET", "/v1/models"),
    ]


def _request(
    method: str, path: str, body: bytes = b"", fields: dict[str, str] | None = None, *, length: bool = True
) -> bytes:
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        *(f"{name}: {each}" for name, each in (fields or {}).items()),
    ]
    if body and length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    """One of the requests after a few changes, most of them to its head."""
    data = rng.choice(pool)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        head, separator, body = data.partition(b"\r\n\r\n")
        change = rng.randrange(7)
        if change < 2:
            data = _with_field(head, rng) + separator + body
        elif change == 2:
            data = _with_line(head, rng) + separator + body
        elif change == 3:
            data = _damaged(head, rng) + separator + body
        elif change == 4 and body:
            data = head + separator + _damaged(body, rng)
        elif change == 5 and body:  # a length that fits, so that what is wrong is the body
            body = _damaged(body, rng)
            data = re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + separator + body
        else:
            data = _damaged(data, rng) if rng.random() < 0.5 else data[: rng.randrange(len(data) + 1)]
    return data


def _with_field(head: bytes, rng: random.Random) -> bytes:
    """Add, double or replace a header field."""
    lines = head.split(b"\r\n")
    name = rng.choice(_ODD_FIELDS)
    if rng.random() < 0.5:
        lines = [line for line in lines if not line.lower().startswith(name.lower().encode() + b":")]
    field = f"{name}: {rng.choice(_ODD_VALUES)}".encode("latin-1", "replace")
    lines[rng.randrange(len(lines)) + 1 :] = [field] * rng.choice((1, 1, 1, 2, 120))
    return b"\r\n".join([*lines, *head.split(b"\r\n")[2:]])


def _with_line(head: bytes, rng: random.Random) -> bytes:
    """Change the method, the path or the version."""
    line, _, rest = head.partition(b"\r\n")
    words = line.split(b" ")
    place = rng.randrange(len(words))
    if place == 0:
        words[0] = rng.choice(_METHODS).encode()
    elif place == 1:
        words[1] = _damaged(words[1], rng)
    else:
        words[place] = rng.choice((b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"", b"http/1.1", b"HTTP/1.1 x"))
    return b" ".join(words) + b"\r\n" + rest


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Flip, insert, delete or double some bytes."""
    at = rng.randrange(len(data) + 1)
    size = rng.choice((1, 2, 8, 64))
    change = rng.randrange(5)
    if change == 0:
        return data[:at] + rng.choice(_PIECES) + data[at:]
    if change == 1:
        return data[:at] + data[at + size :]
    if change == 2:
        return data[:at] + rng.randbytes(size) + data[at + size :]
    if change == 3:
        return data[:at] + data[at : at + size] * rng.choice((2, 50)) + data[at + size :]
    return data[:at] + bytes(byte ^ 1 << rng.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]


def cases(model: str, count: int, seed: int) -> Iterator[bytes]:
    """So many requests, always the same ones of a seed."""
    rng, pool = random.Random(seed), seeds(model)
    for _ in range(count):
        yield mutated(rng, pool)


def exchange(address: tuple[str, int], data: bytes) -> bytes:
    """Send bytes on a connection of their own, close its half, and return all that comes back.

    Raises:
        TimeoutError: The server neither answers nor closes the connection.
    """
    received = b""
    with socket.create_connection(address, timeout=SECONDS) as connection:
        with suppress(ConnectionError):  # refused before all was sent
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while chunk := connection.recv(1 << 16):
                received += chunk
    return received


def fuzz(url: str, *, count: int, seed: int = 0) -> Report:
    """Send mutated requests to a server, one after the other."""
    parsed = httpx.URL(url)
    assert parsed.port
    model = httpx.get(f"{url}/v1/models", timeout=SECONDS).json()["default"]
    report = Report()
    for number, data in enumerate(cases(model, count, seed)):
        case = f"case {number} of seed {seed}"
        began = time.perf_counter()
        try:
            answer = exchange((parsed.host, parsed.port), data)
        except TimeoutError:
            report.failures.append(f"{case}: no answer to {data[:300]!r}")
            continue
        seconds = time.perf_counter() - began
        statuses = [int(status) for status in _STATUS.findall(answer)]
        report.took(seconds / max(1, sum(status >= 200 for status in statuses)), case)  # one case may be 50 requests
        report.statuses.update(statuses or [0])  # 0: the connection was closed
        if any(status >= 500 and status not in (503, 504) for status in statuses) or b"Traceback" in answer:
            report.failures.append(f"{case}: {data[:300]!r} brought {answer[:300]!r}")
        if answer and not answer.startswith(b"HTTP/1.1 "):
            report.failures.append(f"{case}: {data[:300]!r} brought no HTTP: {answer[:100]!r}")
    return report


def main() -> int:
    def send(url: str, part: Part) -> Report:
        return fuzz(url, count=part.cases, seed=part.seed)

    return run(__doc__, send)


if __name__ == "__main__":
    raise SystemExit(main())
