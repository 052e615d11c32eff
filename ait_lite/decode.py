"""Bytes of unknown origin -> a checked, upright, opaque RGB image, the same wherever an image is looked at.

The content decides the format, never a name or a header. Nothing here knows of HTTP, and the process-wide
switches of Pillow are left alone: formats and limits are arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from io import BytesIO
from typing import Any, Final, NamedTuple

import numpy as np
from PIL import Image, features

from ait_lite.colour_profile import to_srgb
from ait_lite.plain_jpeg import decode_plain_jpeg, plain_jpeg_size

# What a service accepts: few formats, whose decoders are looked at most by those who attack them.
FORMATS = ("image/jpeg", "image/png", "image/webp")

# Encoders write about ten scans. Each costs a pass over the whole image but only a few bytes: a small
# file with thousands of them would keep a processor busy for minutes.
MAX_JPEG_SCANS = 50

_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


# An image in mode RGB, or its pixels as uint8 of shape (height, width, 3).
Pixels = Image.Image | np.ndarray


class ImageError(ValueError):
    """An image that cannot be used. `kind` is a stable name for programs, the message is for people."""

    kind = "image-error"
    title = "The image cannot be used"


class EmptyImage(ImageError):
    """There are no bytes."""

    kind = "empty-image"
    title = "No image was sent"


class UnsupportedFormat(ImageError):
    """The bytes are not an image in an accepted format."""

    kind = "unsupported-format"
    title = "Not an accepted image format"


class TooManyPixels(ImageError):
    """The image is larger than the limit."""

    kind = "too-many-pixels"
    title = "The image has too many pixels"


class UndecodableImage(ImageError):
    """The format is accepted, but this file is damaged or cannot be shown."""

    kind = "undecodable-image"
    title = "The image cannot be decoded"


@dataclass(frozen=True)
class ImageLimits:
    """Most pixels of an image, and most times its longer side may exceed its shorter one."""

    pixels: int = 50_000_000
    aspect: float = 100.0


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


def decode(
    data: bytes,
    limits: ImageLimits,
    formats: Collection[str] = FORMATS,
    *,
    admit: Callable[[int], object] | None = None,
) -> Image.Image:
    """Decode an image file as a person would see it.

    EXIF orientation is applied, colours are converted from the embedded profile to sRGB, transparency is laid on
    white, 16-bit values are scaled, and of an animation or of several pages the first counts.

    Args:
        data: The file.
        limits: Checked from the header, before pixels are decoded.
        formats: Media types that are accepted, of `readable_formats`.
        admit: Called with the number of pixels before they are decoded; what it raises is raised.

    Returns:
        An image in mode RGB.

    Raises:
        EmptyImage: There are no bytes.
        UnsupportedFormat: The content is of none of the formats.
        TooManyPixels: The image is larger than the limit.
        UndecodableImage: The file is damaged, or cannot be shown.
    """
    return to_image(decode_pixels(data, limits, formats, admit=admit))


def decode_pixels(
    data: bytes,
    limits: ImageLimits,
    formats: Collection[str] = FORMATS,
    *,
    admit: Callable[[int], object] | None = None,
) -> Pixels:
    """Decode an image file as `decode` does, into what costs least.

    Raises:
        ImageError: As `decode`.
    """
    if not data:
        raise EmptyImage(f"There are no bytes. Send the content of a {_listed(formats)} file.")
    kind = _kind(data)
    if kind not in formats:
        raise UnsupportedFormat(f"This is not a {_listed(formats)} image. Convert it to one of these.")
    if kind == "image/jpeg" and (size := plain_jpeg_size(data)):
        _check_size(size, limits)
        if admit:
            admit(size[0] * size[1])
            admit = None
        if (pixels := decode_plain_jpeg(data)) is not None:
            return pixels
    with _DAMAGE_NAMED:
        # Opening a WebP file already allocates its canvas.
        image = None if kind == "image/webp" else _plugin(kind)(BytesIO(data))
        size = _webp_size(data) if image is None else image.size
        _check_size(size, limits)
    if admit:
        admit(size[0] * size[1])
    with _DAMAGE_NAMED:
        if image is None:
            image = _plugin(kind)(BytesIO(data))
            _check_size(image.size, limits)
        if image.info.get("progressive") and _too_many_scans(data):
            raise UndecodableImage(f"The JPEG has more than {MAX_JPEG_SCANS} scans.")
        return upright_rgb(image)


def to_image(pixels: Pixels) -> Image.Image:
    """Make an image in mode RGB of what `decode_pixels` returns."""
    return Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels


class _DamageNamed:
    """Raise an `ImageError` in place of whatever Pillow raises (a context)."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if error is None or isinstance(error, ImageError | MemoryError) or not isinstance(error, Exception):
            return
        if isinstance(error, Image.DecompressionBombError):
            raise TooManyPixels("The image is too large.") from error
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError and more for
        # damaged files; all of them mean the same to whoever sent the file.
        raise UndecodableImage("The file is damaged or incomplete. Save or send it again.") from error


_DAMAGE_NAMED: Final = _DamageNamed()


def upright_rgb(image: Image.Image) -> Image.Image:
    """Show an opened image as `decode` does a file: upright, on white, 16 bits scaled, colours as sRGB.

    Args:
        image: Of any mode, as Pillow opened it; an image that was made has no orientation or profile.

    Returns:
        An image in mode RGB.

    Raises:
        OSError, ValueError, SyntaxError: What Pillow raises where the file is damaged.
    """
    image.load()
    return _upright(_to_rgb(image), image)


def refusal(
    data: bytes, size: tuple[int, int], limits: ImageLimits, formats: Collection[str] = FORMATS
) -> ImageError | None:
    """Say why narrower limits than an image was decoded under would refuse it.

    Args:
        data: The file.
        size: Width and height of what `decode` made of it, pixels.
        limits: The narrower limits, such as a service's.
        formats: Likewise.

    Returns:
        The error that `decode` would raise, or None.
    """
    if _kind(data) not in formats:
        return UnsupportedFormat(f"This is not a {_listed(formats)} image. Convert it to one of these.")
    try:
        _check_size(size, limits)
    except ImageError as error:
        return error
    return None


def _kind(data: bytes) -> str:
    return next((kind for kind, head in _HEADS if head.match(data)), "")


def _listed(formats: Collection[str]) -> str:
    *names, last = (form.name for kind, form in _KNOWN.items() if kind in formats)
    return f"{', '.join(names)} or {last}" if names else last


@cache
def _plugin(kind: str) -> Any:
    module, name = _KNOWN[kind].plugin
    return getattr(import_module(module), name)


def _webp_size(data: bytes) -> tuple[int, int]:
    """(width, height) of the canvas, in pixels, from the first chunk of a WebP file."""
    kind, head = data[12:16], data[20:30]
    if len(head) < 10:
        raise UndecodableImage("The file is damaged or incomplete. Save or send it again.")
    if kind == b"VP8X":
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(head[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(head[6:8], "little") & 0x3FFF, int.from_bytes(head[8:10], "little") & 0x3FFF


def _check_size(size: tuple[int, int], limits: ImageLimits) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise UndecodableImage(f"The image is {width} x {height} pixels: there is nothing to see.")
    if width * height > limits.pixels:
        raise TooManyPixels(
            f"The image is {width} x {height} = {width * height:,} pixels; at most {limits.pixels:,} are "
            "accepted. Make it smaller."
        )
    if max(size) > limits.aspect * min(size):
        raise UndecodableImage(
            f"The image is {width} x {height} pixels; its longer side may be at most {limits.aspect:g} "
            "times the shorter one. Cut a part out of it."
        )


def _too_many_scans(data: bytes) -> bool:
    # Between scans lie marker segments with a length; within one, 0xff is followed by 0 or a restart marker.
    marker = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
    position, scans = 2, 0
    while scans <= MAX_JPEG_SCANS and (found := marker.search(data, position)):
        if found[1] == b"\xd9":  # end of image: what follows is not part of the image
            break
        scans += found[1] == b"\xda"
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans > MAX_JPEG_SCANS


def _to_rgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if image.mode.startswith("I"):
        image = _shallow_grey(image)
    elif image.mode == "F":
        raise UndecodableImage("The image holds floating-point numbers, whose range no one knows. Save it in 8 bits.")
    if profile:
        image = to_srgb(image, profile)
    if not image.has_transparency_data:
        return image if image.mode == "RGB" else image.convert("RGB")  # converting would copy it
    image = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(image, mask=image.getchannel("A"))
    return canvas


def _shallow_grey(image: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips it at 255, which turns photographs white."""
    deep = np.asarray(image)
    if deep.itemsize > 2:  # mode I, which some versions of Pillow use for 16 bits
        deep = deep.clip(0, 65535)
    grey = (deep >> 8).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        grey[deep == clear] = 255
    return Image.fromarray(grey)


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(source.getexif().get(_ORIENTATION, 1))
    except Exception:
        return image  # broken metadata must not cost a good image
    return image if turn is None else image.transpose(turn)
