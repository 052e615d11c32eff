"""Mutated inference requests: none may bring anything but an answer or a documented refusal.

    python -m tests.support.fuzz.inference --cases 20000

starts a server, sends it that many, and reports statuses, the slowest answer and the memory of its processes.
"""

from __future__ import annotations

import gzip
import json
import pickle
import random
import time
import zlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from tritonclient.http import InferenceServerClient

from tests.support.fuzz.sending import Part, RawClient, Report, run
from tests.support.images.service_images import FORMATS, encode, scene

REFUSALS = {400, 404, 405, 413, 415, 422, 504}
LENGTH, ENCODING = "inference-header-content-length", "content-encoding"

ODD: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e39, 1e308, 2**31, 2**32, 2**53, 2**63, 2**64, 10**40, -(2**63)),
    *("", "\0", "é😀", "x" * 300, "FP32", "BYTES", "BF16", "pixels", "image", "logits", "NaN", "1"),
    *([], {}, [[]], [0], [None], {"": None}, {"binary_data_size": 5}, [1, 3, 32, 32], [2**40] * 4, [-1, 3, 32, 32]),
]
BYTES = [
    b"\0",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b"NaN",
    b"-",
    b"1e999",
    b"\\ud800",
    b"\xc3\x28",
    b"0" * 40,
]


@dataclass
class Request:
    """One request: `document` and `binary` make the body unless `body` is given."""

    document: Any
    binary: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    path: str = "infer"

    def encoded(self) -> bytes:
        return json.dumps(self.document).encode() + self.binary


def seeds(model: str, side: int = 32) -> list[Request]:
    """Requests that are answered.

    Args:
        model: Its name.
        side: Of its square images, in pixels.
    """
    pixels = np.linspace(-1, 1, 3 * side * side, dtype=np.float32)
    shape = {"name": "pixels", "shape": [1, 3, side, side], "datatype": "FP32"}
    size = {"binary_data_size": pixels.nbytes}
    images = [encode(scene(), format) for format in FORMATS]
    elements = b"".join(len(image).to_bytes(4, "little") + image for image in images)
    image = {"name": "image", "shape": [3], "datatype": "BYTES", "parameters": {"binary_data_size": len(elements)}}
    wanted = [
        {"name": "logits", "parameters": {"binary_data": True}},
        {"name": "probabilities", "parameters": {"classification": 2, "binary_data": False}},
    ]
    path = f"/v2/models/{model}/infer"
    return [
        Request({"id": "1", "inputs": [{**shape, "data": [0] * pixels.size}], "outputs": wanted}, path=path),
        Request({"inputs": [{**shape, "data": np.zeros((1, 3, side, side), int).tolist()}]}, path=path),
        Request({"inputs": [{**shape, "parameters": size}]}, pixels.tobytes(), path=path),
        Request({"inputs": [image], "parameters": {"binary_data_output": True}}, elements, path=path),
        Request({"inputs": [image], "outputs": wanted, "parameters": {"timeout": 10**8}}, elements, path=path),
    ]


def mutate(seed: Request, chance: random.Random) -> Request:
    """A request that differs from a good one in up to four ways; a few do not differ."""
    request = pickle.loads(pickle.dumps(seed))  # ten times as fast as deepcopy
    for _ in range(chance.randrange(5)):
        chance.choice((_change_value, _change_value, _change_binary, _change_path))(request, chance)
    head = json.dumps(request.document).encode()
    request.body = head + request.binary
    if request.binary:
        request.headers[LENGTH] = str(len(head))
    if chance.random() < 0.3:
        request.body = _change_bytes(request.body, chance, near=len(head) if chance.random() < 0.7 else None)
    if chance.random() < 0.1:
        near = [len(head) - 1, len(head) + 1, len(request.body), len(request.body) + 1, 0, -1, 10**25, "", "x", "1 2"]
        request.headers[LENGTH] = str(chance.choice(near))
    if chance.random() < 0.2:
        _compress(request, chance)
    return request


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to everything in a document, save most of long lists of numbers."""
    yield place
    items = value.items() if isinstance(value, dict) else enumerate(value[:8]) if isinstance(value, list) else ()
    for key, item in items:
        yield from _places(item, (*place, key))


def _change_value(request: Request, chance: random.Random) -> None:
    place = chance.choice(list(_places(request.document)))
    if not place:
        if chance.random() < 0.1:
            request.document = deepcopy(chance.choice(ODD))
        return
    holder = request.document
    for key in place[:-1]:
        holder = holder[key]
    action, key, odd = chance.randrange(4), place[-1], deepcopy(chance.choice(ODD))
    if action == 0:
        del holder[key]
    elif action == 1 and isinstance(holder, list):
        holder.insert(key, deepcopy(holder[key]))
    elif action == 1:
        holder[str(odd)] = holder[key]
    elif action == 2 and isinstance(holder[key], list):
        holder[key].append(odd)
    else:
        holder[key] = odd


def _change_binary(request: Request, chance: random.Random) -> None:
    request.binary = _change_bytes(request.binary, chance)


def _change_path(request: Request, chance: random.Random) -> None:
    if chance.random() < 0.2:
        ends = ("infer/", "ready", "versions/1/infer", "versions/2/infer", "versions//infer", "%00", "..", "é/infer")
        request.path = request.path.rsplit("/", 1)[0] + "/" + chance.choice(ends)


def _change_bytes(data: bytes, chance: random.Random, near: int | None = None) -> bytes:
    where = chance.randrange((len(data) if near is None else min(near, len(data))) + 1)
    action = chance.randrange(5)
    if action == 0:
        return data[:where]
    if action == 1:
        return data[:where] + chance.choice(BYTES) + data[where:]
    if action == 2:
        return data[:where] + data[where + chance.randrange(1, 9) :]
    if action == 3:
        return data[:where] + chance.randbytes(4) + data[where + 4 :]
    return data + data[where : where + 5000]


def _compress(request: Request, chance: random.Random) -> None:
    body = request.body or b""
    made = {"gzip": gzip.compress(body, 1), "deflate": zlib.compress(body, 1), "br": body, "identity": body}
    name = chance.choice(list(made))
    request.body = made[name] if chance.random() < 0.6 else _change_bytes(made[name], chance)
    request.headers[ENCODING] = name if chance.random() < 0.8 else chance.choice(["gzip", "deflate", "", "gzip,gzip"])
    request.headers["accept-encoding"] = chance.choice(["gzip", "deflate", "*", "identity"])


def fuzz(client: Any, model: str, cases: int, seed: int, side: int = 32) -> Report:
    """Sends mutated requests, one after the other; `client` says where to."""
    report, good = Report(), seeds(model, side)
    for case in range(cases):
        request = mutate(good[case % len(good)], random.Random(f"{seed}/{case}"))
        began = time.perf_counter()
        response = client.post(request.path, content=request.body, headers=request.headers)
        report.took(time.perf_counter() - began, f"case {seed}/{case}")
        report.statuses[response.status_code] += 1
        if problem := wrong(response):
            report.failures.append(f"case {seed}/{case}: {response.status_code} {problem}: {response.content[:200]!r}")
    return report


def wrong(response: httpx.Response) -> str | None:
    """What is wrong with an answer; None if nothing is."""
    if response.status_code != 200:
        if response.status_code not in REFUSALS:
            return "not documented"
        document = response.json()
        return None if list(document) == ["error"] and document["error"] else "no error"
    length = response.headers.get(LENGTH)
    result = InferenceServerClient.parse_response_body(response.content, header_length=length)
    for output in result.get_response()["outputs"]:
        if result.as_numpy(output["name"]).shape != tuple(output["shape"]):
            return "an output of another shape"
    return None


def main() -> int:
    """Runs the cases against a server of their own; 1 if anything was wrong."""

    def send(url: str, part: Part) -> Report:
        model = httpx.get(f"{url}/v1/models").json()["default"]
        inputs = httpx.get(f"{url}/v2/models/{model}").json()["inputs"]
        (side,) = {each["shape"][-1] for each in inputs if each["name"] == "pixels"}
        client = RawClient(url)

        def check() -> None:
            for each in seeds(model, side)[:2]:
                assert client.post(each.path, content=each.encoded()).status_code == 200

        check()
        report = fuzz(client, model, part.cases, part.seed, side)
        check()
        return report

    return run(__doc__, send)


if __name__ == "__main__":
    raise SystemExit(main())
