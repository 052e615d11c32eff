"""Mutated requests to the memories of classes; none may bring anything but an answer or a documented refusal.

    python -m tests.support.fuzz.memories --cases 20000

starts a server, sends it that many (archives, forms, images, JSON and memory files, to a few memories that come and
go), and reports statuses, the slowest answer and the memory of its processes.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote

from tests.support.fuzz.images import mutated as mutated_image
from tests.support.fuzz.sending import Part, RawClient, Report, run
from tests.support.images.service_images import encode, scene
from tests.support.servers.memories_client import COLOURS, coloured, zipped

REFUSALS = {400, 404, 405, 409, 412, 413, 415, 422, 429, 504}
_MEMORIES = ("a", "b", "c")
_ODD = (
    *("", "0", "-1", "1e9", "\0", "%", "..", "/", "a/b", "é😀", "x" * 300, "*", '"1"', 'W/"1"', "not ", "null", "NaN"),
    *("ant", "bee", "true", "thumbnail", "image", "none", "\ud7ff", " ", "\t", "a\nb", "1,2", "99999999999999999999"),
)
_HEADERS = ("If-Match", "Idempotency-Key", "Content-Type", "Content-Encoding", "Accept", "X-Request-Timeout")
_TYPES = ("application/json", "application/zip", "image/png", "multipart/form-data", "text/plain", "gzip", "deflate")
_PARAMETERS = ("label", "source", "after", "limit", "model", "keep", "top_k", "whole", "not", "x")
_METHODS = ("GET", "PUT", "POST", "PATCH", "DELETE", "OPTIONS")
_WAYS = ("", "/examples", "/examples/1", "/examples/a%2Fb", "/recall", "/health", "/verify", "/file", "/rebind", "//")


@dataclass(frozen=True)
class Request:
    """One request; `path` follows the memory's name."""

    method: str
    path: str
    body: bytes = b""
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


def seeds() -> list[Request]:
    """Requests that are answered where there is such a memory; those that make and fill it come more often."""
    images = [encode(scene(), kind) for kind in ("JPEG", "PNG", "WEBP")]
    archive = zipped({f"{label}/{number}.png": coloured(label, number) for label in COLOURS for number in (1, 2)})
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="ant/1.png"\r\n\r\n'
    form = part + images[1] + b"\r\n" + part + images[0] + b"\r\n--b--\r\n"
    forms = {"Content-Type": "multipart/form-data; boundary=b"}
    options = {"readout": "prototype", "keep": "image", "unknown_level": 0.1, "beta": 5.0, "seed": 1}
    label = (("label", "ant"),)
    return [
        *[Request("PUT", "", json.dumps(options).encode()), Request("PUT", "", b"{}")] * 2,
        *(Request("PUT", f"/examples/{name}", image, label) for name, image in zip("123", images, strict=True)),
        *[Request("POST", "/examples", archive), Request("POST", "/examples", form, label, forms)] * 2,
        Request("POST", "/examples", gzip.compress(archive), headers={"Content-Encoding": "gzip"}),
        Request("POST", "/examples", archive, headers={"Idempotency-Key": "once"}),
        Request("PATCH", "/examples/1", b'{"label": "bee"}'),
        Request("PATCH", "/examples/2", b'{"not": "bee"}'),
        *(Request("POST", "/recall", image, (("top_k", "2"),)) for image in images),
        *(Request("GET", path) for path in ("", "/examples", "/examples/1", "/health", "/file")),
        Request("GET", "/examples", query=(("label", "ant"), ("limit", "2"))),
        *(Request("POST", path) for path in ("/verify", "/rebind")),
        *(Request("DELETE", path) for path in ("/examples/1", "/examples/2")),
        Request("DELETE", "/examples", query=label),
        Request("DELETE", ""),
    ]


def mutate(request: Request, chance: random.Random) -> Request:
    """A request after up to four changes; some have none."""
    for _ in range(chance.choice((0, 1, 1, 1, 2, 4))):
        change = chance.randrange(8)
        if change < 4 and request.body:
            request = replace(request, body=mutated_image(chance, [request.body]))
        elif change == 4:
            extra = (chance.choice(_PARAMETERS), chance.choice(_ODD))
            request = replace(request, query=(*request.query[chance.randrange(2) :], extra))
        elif change == 5:
            value = chance.choice((*_ODD, *_TYPES)).encode("ascii", "ignore").decode()
            odd = {chance.choice(_HEADERS): "".join(each for each in value if each.isprintable())}
            request = replace(request, headers={**request.headers, **odd})
        elif change == 6:
            request = replace(request, path=chance.choice(_WAYS))
        elif change == 7:
            request = replace(request, method=chance.choice(_METHODS))
    return request


def address(request: Request, memory: str) -> str:
    """The target of a request to a memory."""
    query = "&".join(f"{quote(name)}={quote(value, errors='replace')}" for name, value in request.query)
    return f"/v1/memories/{memory}{request.path}" + (f"?{query}" if query else "")


def fuzz(client: Any, *, count: int, seed: int = 0, memory_file: bytes = b"") -> Report:
    """Send mutated requests, one after the other.

    Args:
        client: Says where to.
        count: How many.
        seed: Of the changes.
        memory_file: What the server has given as a memory's file; it is put back with changes.
    """
    report, chance, good = Report(), random.Random(seed), seeds()
    if memory_file:
        good += [Request("PUT", "/file", memory_file)] * 2
    for number in range(count):
        request = mutate(chance.choice(good), chance)
        memory = chance.choice(_MEMORIES) if chance.random() < 0.97 else quote(chance.choice(_ODD))
        case = f"case {number} of seed {seed}"
        began = time.perf_counter()
        response = client.request(
            request.method, address(request, memory), content=request.body, headers=request.headers
        )
        report.took(time.perf_counter() - began, case)
        report.statuses[response.status_code] += 1
        refused = response.status_code not in {200, 201, 204, 307}
        if refused and (response.status_code not in REFUSALS or b"Traceback" in response.content):
            report.failures.append(f"{case}: {request} to {memory}: {response.status_code} {response.text[:300]}")
    return report


def main() -> int:
    def send(url: str, part: Part) -> Report:
        client = RawClient(url)
        client.request("PUT", "/v1/memories/file", content=b"{}")
        archive = zipped({f"{label}/{number}.png": coloured(label, number) for label in COLOURS for number in (1, 2)})
        client.post("/v1/memories/file/examples", content=archive)
        memory_file = client.get("/v1/memories/file/file").content
        return fuzz(client, count=part.cases, seed=part.seed, memory_file=memory_file)

    return run(__doc__, send)


if __name__ == "__main__":
    raise SystemExit(main())
