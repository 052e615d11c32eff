"""Formats of image files: by what they are recognised, and who reads them."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple

from PIL import features

# What a service accepts: few formats, whose decoders are looked at most by those who attack them.
FORMATS = ("image/jpeg", "image/png", "image/webp")


class _Format(NamedTuple):
    """A kind of file, and who reads it.

    Attributes:
        name: For people.
        plugin: Pillow's module and class. Used directly: `Image.open` would guess, and hold sizes against a
            process-wide limit.
        feature: What Pillow must have been built with, if anything.
    """

    name: str
    plugin: tuple[str, str]
    feature: str | None = None


_KNOWN = {
    "image/jpeg": _Format("JPEG", ("PIL.JpegImagePlugin", "JpegImageFile")),
    "image/png": _Format("PNG", ("PIL.PngImagePlugin", "PngImageFile")),
    "image/webp": _Format("WebP", ("PIL.WebPImagePlugin", "WebPImageFile")),
    "image/gif": _Format("GIF", ("PIL.GifImagePlugin", "GifImageFile")),
    "image/bmp": _Format("BMP", ("PIL.BmpImagePlugin", "BmpImageFile")),
    "image/tiff": _Format("TIFF", ("PIL.TiffImagePlugin", "TiffImageFile")),
    "image/x-portable-anymap": _Format("PPM", ("PIL.PpmImagePlugin", "PpmImageFile")),
    "image/avif": _Format("AVIF", ("PIL.AvifImagePlugin", "AvifImageFile"), "avif"),
    "image/jp2": _Format("JPEG 2000", ("PIL.Jpeg2KImagePlugin", "Jpeg2KImageFile"), "jpg_2000"),
}
_HEADS = (
    ("image/jpeg", re.compile(rb"\xff\xd8\xff")),
    ("image/png", re.compile(rb"\x89PNG\r\n\x1a\n")),
    ("image/webp", re.compile(rb"RIFF....WEBP", re.DOTALL)),
    ("image/gif", re.compile(rb"GIF8[79]a")),
    ("image/bmp", re.compile(rb"BM")),
    ("image/tiff", re.compile(rb"II[*+]\0|MM\0[*+]")),
    ("image/x-portable-anymap", re.compile(rb"P[1-6]\s")),
    ("image/avif", re.compile(rb"....ftypavi[fs]", re.DOTALL)),
    ("image/jp2", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51")),
)


@cache
def readable_formats() -> tuple[str, ...]:
    """List the media types of all formats that this installation decodes, those of `FORMATS` first."""
    return tuple(kind for kind, form in _KNOWN.items() if form.feature is None or features.check(form.feature))


def kind_of(data: bytes) -> str:
    """Tell the media type of a file by how it begins; empty where that is no known format's."""
    return next((kind for kind, head in _HEADS if head.match(data)), "")


def listed(formats: Collection[str]) -> str:
    """Write the names of formats for people, as in "JPEG, PNG or WebP"."""
    *names, last = (form.name for kind, form in _KNOWN.items() if kind in formats)
    return f"{', '.join(names)} or {last}" if names else last


@cache
def plugin(kind: str) -> Any:
    """Load the class of Pillow that reads files of a media type."""
    module, name = _KNOWN[kind].plugin
    return getattr(import_module(module), name)
