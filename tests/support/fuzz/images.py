"""Mutated image files: none may bring anything but an answer or a documented refusal.

    python -m tests.support.fuzz.images --cases 20000

starts a server, sends it that many, and reports statuses, the slowest answer and the memory of its processes.
"""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from tests.support.fuzz.sending import RawClient, Report, run
from tests.support.images.service_images import encode, many_scans, png_header, scene, webp_header

REFUSALS = {400, 413, 415, 422}
FIELDS = (
    b"\0\0\0\0",
    b"\0\0\0\1",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\1\0\0",
    b"\xff\xff\0\0",
)


def seeds() -> list[bytes]:
    """Files of many kinds, each of which is answered."""
    image = scene(40, 30)
    rgba = image.convert("RGBA")
    rgba.putalpha(128)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = "a description"
    deep = Image.fromarray(np.linspace(0, 65535, 30 * 40).astype(np.uint16).reshape(30, 40))
    frames: dict[str, Any] = {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}
    return [
        encode(image, "JPEG"),
        encode(image, "JPEG", progressive=True, exif=exif),
        encode(image, "JPEG", subsampling=2, quality=20, restart_marker_blocks=2),
        encode(image.convert("L"), "JPEG"),
        encode(image.convert("CMYK"), "JPEG"),
        encode(image, "JPEG", icc_profile=b"\0" * 200, comment=b"hello"),
        many_scans(5),
        *(encode(image.convert(mode)) for mode in ("RGB", "L", "LA", "1", "P")),
        encode(rgba),
        encode(deep),
        encode(image.quantize(16), transparency=3, dpi=(300, 300), exif=exif),
        encode(image, **frames),
        encode(image, "WEBP", quality=30),
        encode(image, "WEBP", lossless=True),
        encode(rgba, "WEBP", exif=exif),
        encode(image, "WEBP", **frames),
    ]


@cache
def edges() -> list[bytes]:
    """Files that lie about themselves."""
    sizes = [(0, 0), (0, 1), (1, 1), (1, 2**31 - 1), (2**31 - 1, 2**31 - 1), (65500, 65500), (100, 1), (1, 101)]
    return [
        *(png_header(*size) for size in sizes),
        *(webp_header(*size) for size in ((1, 1), (2**24, 2**24), (16384, 16384), (1, 16384))),
        many_scans(200),
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
        b"RIFF\0\0\0\0WEBP",
        zlib_bomb(),
    ]


def zlib_bomb() -> bytes:
    """A PNG of one pixel with a text and pixels that inflate to far more than they should."""
    text = b"zTXt" + b"k\0\0" + zlib.compress(bytes(50_000_000), 9)
    pixels = b"IDAT" + zlib.compress(bytes(50_000_000), 9)
    small = encode(Image.new("RGB", (1, 1)))
    return small[:33] + _chunk(text) + _chunk(pixels) + small[33:]


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    """One of the files after a few changes."""
    data = bytearray(rng.choice(pool))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(_MUTATIONS)(rng, data, pool)
    return bytes(repaired(data) if data.startswith(b"\x89PNG") and rng.random() < 0.8 else data)


def _flip(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    for _ in range(rng.choice((1, 2, 16))):
        data[_place(rng, data)] ^= 1 << rng.randrange(8)


def _overwrite(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = _place(rng, data)
    value = rng.choice(FIELDS)[: rng.choice((1, 2, 4))]
    data[at : at + len(value)] = value


def _cut(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    del data[max(3, _place(rng, data)) :]


def _delete(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = _place(rng, data)
    del data[at : at + rng.choice((1, 4, 32, 256))]


def _repeat(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = _place(rng, data)
    part = bytes(data[at : at + rng.choice((4, 32, 512))])
    data[at:at] = part * rng.choice((1, 3, 20))


def _insert(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    at = _place(rng, data)
    data[at:at] = rng.randbytes(rng.choice((1, 2, 64)))


def _splice(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    other = rng.choice(pool)
    data[_place(rng, data) :] = other[rng.randrange(len(other)) :]


def _resize(rng: random.Random, data: bytearray, pool: list[bytes]) -> None:
    """Another size in the header."""
    width, height = (rng.choice((0, 1, 2, 39, 41, 255, 1000, 30_000, 65_535)) for _ in range(2))
    if data.startswith(b"\x89PNG"):
        data[16:24] = struct.pack(">II", width, height)
    elif data.startswith(b"\xff\xd8"):
        for marker in (b"\xff\xc0", b"\xff\xc2"):
            if (at := data.find(marker)) > 0:
                data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    else:
        data[24:30] = struct.pack("<HHH", width, height, 0)


_MUTATIONS: list[Callable[[random.Random, bytearray, list[bytes]], None]] = [
    *(_flip, _flip, _overwrite, _overwrite, _cut, _delete, _repeat, _insert, _splice, _resize)
]


def _place(rng: random.Random, data: bytearray) -> int:
    """Half of the time near the front, where the structure is."""
    if not data:
        data += b"\0"
    return rng.randrange(min(len(data), 100) if rng.random() < 0.5 else len(data))


def repaired(data: bytearray) -> bytearray:
    """A PNG with the right checksums, so that what is wrong in it gets past them."""
    at = 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return data


def _chunk(body: bytes) -> bytes:
    return struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))


def cases(count: int, seed: int) -> Iterator[bytes]:
    """So many files, always the same ones of a seed; the edges come first."""
    rng, pool = random.Random(seed), [*seeds(), *edges()]
    yield from edges()
    for _ in range(count - len(edges())):
        yield mutated(rng, pool)


def fuzz(client: Any, *, count: int, seed: int = 0) -> Report:
    """Sends mutated images: one of ten as a form of two, some to be embedded, and a few to be explained."""
    report = Report()
    for number, data in enumerate(cases(count, seed)):
        start = time.perf_counter()
        if number % 10 == 9:
            response = client.post("/v1/classify", files=[("file", data), ("file", data)])
        else:
            path = "/v1/explain" if number % 100 == 50 else "/v1/embed" if number % 10 == 5 else "/v1/classify"
            response = client.post(path, content=data)
        report.took(time.perf_counter() - start, f"case {number} of seed {seed}")
        report.statuses[response.status_code] += 1
        if response.status_code not in REFUSALS | {200} or "Traceback" in response.text:
            report.failures.append(f"case {number} of seed {seed}: {response.status_code} {response.text[:300]}")
    return report


def main() -> int:
    return run(__doc__, lambda url, part: fuzz(RawClient(url), count=part.cases, seed=part.seed))


if __name__ == "__main__":
    raise SystemExit(main())
