"""What was sent in place of an image."""

import base64
import gzip
import json
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ait_lite.images.content import recognise


def encoded(kind: str, size: tuple[int, int] = (8, 8)) -> bytes:
    file = BytesIO()
    Image.new("RGB", size, "red").save(file, kind)
    return file.getvalue()


JPEG = encoded("JPEG")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (json.dumps({"image": base64.b64encode(JPEG).decode()}).encode(), "json"),
        (json.dumps({"image": "A" * 100_000}).encode(), "json"),
        (b'["a"]', "json"),
        (b"[" * 3000, "json"),  # nested too deeply to be read
        (b"data:image/jpeg;base64," + base64.b64encode(JPEG), "data-url"),
        (base64.b64encode(JPEG), "base64"),
        (base64.encodebytes(encoded("PNG", (200, 200))), "base64"),
        (base64.urlsafe_b64encode(encoded("WEBP")), "base64"),
        (b"cat.jpg", "path"),
        (b"@photos/my cat.JPEG\n", "path"),
        ("@Bilder/Kätzchen.png".encode(), "path"),
        (b"file=cat", "text"),
        (b"<!DOCTYPE html><html>", "html"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b"%PDF-1.7 ...", "pdf"),
        (encoded("GIF"), "gif"),
        (encoded("BMP"), "bmp"),
        (encoded("TIFF"), "tiff"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "heic"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00", "avif"),
        (b"\x00\x00\x00\x1cftypisom\x00\x00", "video"),
        (gzip.compress(JPEG), "gzip"),
        (b"PK\x03\x04rest", "zip"),
        (b"", None),
        (b"\x00\x01\x02\x03", None),
        (JPEG, None),
        (encoded("PNG"), None),
        (encoded("WEBP"), None),
    ],
)
def test_kinds(data: bytes, kind: str | None) -> None:
    assert recognise(data) == kind


@given(st.binary(max_size=64))
def test_any_bytes_have_an_answer(data: bytes) -> None:
    recognise(data)
    recognise(b"\xef\xbb\xbf" + data)
    recognise(("é" * 3000).encode()[1:] + data)
