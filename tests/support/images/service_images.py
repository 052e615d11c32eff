"""Images for the tests of the service, as bytes of files."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP")


def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    """The file of an image."""
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def scene(width: int = 48, height: int = 36) -> Image.Image:
    """An image with no symmetry, smooth enough to survive JPEG."""
    y, x = np.mgrid[:height, :width]
    channels = (x * 255 / width, y * 255 / height, (x + y) * 100 / (width + height) + 60)
    return Image.fromarray(np.stack(channels, -1).astype(np.uint8))


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has no pixels: decoding it fails, reading its header does not."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", b"") + _chunk(b"IEND", b"")


def deep_png(pixels: np.ndarray) -> bytes:
    """A PNG of 16 bits a channel with alpha, which Pillow does not write: from (H, W, 4) big-endian uint16."""
    height, width, _ = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in pixels))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def webp_header(width: int, height: int) -> bytes:
    """A WebP that claims a canvas and has no pixels."""
    head = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", len(head)) + head
    return b"RIFF" + struct.pack("<I", len(body)) + body


def many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is repeated."""
    data = encode(scene(), "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * count + data[-2:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
