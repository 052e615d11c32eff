"""Bytes of unknown origin -> a checked, upright, opaque RGB picture.

The content decides the format, never a name or a header. Nothing here knows of HTTP, and the process-wide
switches of Pillow are left alone: the limits are arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

FORMATS = ("image/jpeg", "image/png", "image/webp")

# Encoders write about ten scans. Each costs a pass over the whole picture but only a few bytes: a small
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


class ImageError(ValueError):
    """A picture that cannot be used. `kind` is a stable name for programs, the message is for people."""

    kind = "image-error"
    title = "The picture cannot be used"


class EmptyImage(ImageError):
    """There are no bytes."""

    kind = "empty-image"
    title = "No picture was sent"


class UnsupportedFormat(ImageError):
    """The bytes are not a picture in an accepted format."""

    kind = "unsupported-format"
    title = "Not an accepted picture format"


class TooManyPixels(ImageError):
    """The picture is larger than the limit."""

    kind = "too-many-pixels"
    title = "The picture has too many pixels"


class UndecodableImage(ImageError):
    """The format is accepted, but this file is damaged or cannot be shown."""

    kind = "undecodable-image"
    title = "The picture cannot be decoded"


@dataclass(frozen=True)
class ImageLimits:
    """Most pixels of a picture, and most times its longer side may exceed its shorter one."""

    pixels: int = 50_000_000
    aspect: float = 100.0


def decode(data: bytes, limits: ImageLimits) -> Image.Image:
    """Decodes a JPEG, PNG or WebP file as a person would see it.

    EXIF orientation is applied, transparency is laid on white, 16-bit grey is scaled, and of an animation the
    first frame counts. Colour profiles are ignored.

    Args:
        data: the file.
        limits: checked from the header, before pixels are decoded.

    Returns:
        A picture in mode RGB.

    Raises:
        EmptyImage, UnsupportedFormat, TooManyPixels, UndecodableImage: as named.
    """
    if not data:
        raise EmptyImage("There are no bytes. Send the content of a JPEG, PNG or WebP file.")
    opener = _opener(data)
    if opener is None:
        raise UnsupportedFormat("This is not a JPEG, PNG or WebP picture. Convert it to one of these.")
    try:
        if opener is WebPImageFile:
            _check_size(_webp_size(data), limits)  # opening one already allocates its canvas
        image = opener(BytesIO(data))
        _check_size(image.size, limits)
        if image.info.get("progressive") and _too_many_scans(data):
            raise UndecodableImage(f"The JPEG has more than {MAX_JPEG_SCANS} scans.")
        image.load()
        return _upright(_to_rgb(image), image)
    except (ImageError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixels("The picture is too large.") from error
    except Exception as error:
        # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, IndexError and more for
        # damaged files; all of them mean the same to whoever sent the file.
        raise UndecodableImage("The file is damaged or incomplete. Save or send it again.") from error


def _opener(data: bytes) -> Callable[[BytesIO], ImageFile] | None:
    # The plugins are used directly: Image.open would try to guess, and check sizes by a process-wide limit.
    if data.startswith(b"\xff\xd8\xff"):
        return JpegImageFile
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return PngImageFile
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return WebPImageFile
    return None


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
        raise UndecodableImage(f"The picture is {width} x {height} pixels: there is nothing to see.")
    if width * height > limits.pixels:
        raise TooManyPixels(
            f"The picture is {width} x {height} = {width * height:,} pixels; at most {limits.pixels:,} are "
            "accepted. Make it smaller."
        )
    if max(size) > limits.aspect * min(size):
        raise UndecodableImage(
            f"The picture is {width} x {height} pixels; its longer side may be at most {limits.aspect:g} "
            "times the shorter one. Cut a part out of it."
        )


def _too_many_scans(data: bytes) -> bool:
    # Between scans lie marker segments with a length; within one, 0xff is followed by 0 or a restart marker.
    marker = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
    position, scans = 2, 0
    while scans <= MAX_JPEG_SCANS and (found := marker.search(data, position)):
        if found[1] == b"\xd9":  # end of image: what follows is not part of the picture
            break
        scans += found[1] == b"\xda"
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return scans > MAX_JPEG_SCANS


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        return _deep_grey_to_rgb(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    picture = image.convert("RGBA")
    canvas = Image.new("RGB", image.size, "white")
    canvas.paste(picture, mask=picture.getchannel("A"))
    return canvas


def _deep_grey_to_rgb(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips 16-bit grey at 255, which turns photographs white.
    deep = np.asarray(image)
    if deep.itemsize > 2:  # mode I, which some versions of Pillow use for 16 bits
        deep = deep.clip(0, 65535)
    grey = (deep >> 8).astype(np.uint8)
    if isinstance(clear := image.info.get("transparency"), int):
        grey[deep == clear] = 255
    return Image.fromarray(grey).convert("RGB")


def _upright(picture: Image.Image, source: Image.Image) -> Image.Image:
    try:
        turn = _UPRIGHT.get(source.getexif().get(_ORIENTATION, 1))
    except Exception:
        return picture  # broken metadata must not cost a good picture
    return picture if turn is None else picture.transpose(turn)
