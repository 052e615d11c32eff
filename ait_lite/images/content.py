"""Recognise what bytes are that are not an accepted image, so that a message can say what was sent."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Final, Literal

Content = Literal[
    "json", "data-url", "base64", "path", "text", "html", "svg", "pdf", "gif", "bmp", "tiff", "heic", "avif", "jxl",
    "gzip", "zip", "video",
]  # fmt: skip

_MAGIC: Final[tuple[tuple[bytes, Content], ...]] = (
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"%PDF-", "pdf"),
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "zip"),
    (b"\xff\x0a", "jxl"),
    (b"\x00\x00\x00\x0cJXL ", "jxl"),
    (b"\x1aE\xdf\xa3", "video"),
)
_BRANDS: Final[dict[bytes, Content]] = {
    **dict.fromkeys((b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"), "heic"),
    **dict.fromkeys((b"avif", b"avis"), "avif"),
}
# Encoded beginnings of JPEG, PNG and WebP files; anything else in these letters is taken for text.
_BASE64_IMAGES: Final = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF")
_PATH: Final = re.compile(r"@?[^\n\0]{0,1000}\.(jpe?g|jfif|png|webp|gif|bmp|tiff?|heic|avif)", re.IGNORECASE)
_LOOK: Final = 4096  # bytes from the beginning that are looked at


def recognise(data: bytes | bytearray) -> Content | None:
    """Name the kind of content by its beginning.

    Args:
        data: What was sent; only the first 4,096 bytes are looked at, but for short JSON.

    Returns:
        The kind; None if it is none of those known, or an accepted image.
    """
    head = bytes(data[:_LOOK])
    for magic, kind in _MAGIC:
        if head.startswith(magic):
            return kind
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], "video")
    try:
        text = head.decode("utf-8").strip().lstrip("\ufeff")
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a letter is cut in two
            return None
        text = head[: error.start].decode("utf-8").strip()
    return _text(text, whole=len(data) <= _LOOK) if text else None


def _text(text: str, *, whole: bool) -> Content | None:
    if text.startswith("data:"):
        return "data-url"
    if text[0] in "{[" and (not whole or _is_json(text)):
        return "json"
    lowered = text[:200].lower()
    if "<svg" in lowered:
        return "svg"
    if lowered.startswith(("<!doctype html", "<html")):
        return "html"
    if _is_base64(text):
        return "base64"
    if whole and _PATH.fullmatch(text):
        return "path"
    return "text" if text.isprintable() or "\n" in text else None


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _is_base64(text: str) -> bool:
    letters = "".join(text.split())[:64].replace("-", "+").replace("_", "/")
    letters = letters[: len(letters) // 4 * 4]
    try:
        decoded = base64.b64decode(letters, validate=True)
    except (binascii.Error, ValueError):
        return False
    return decoded.startswith(_BASE64_IMAGES)
