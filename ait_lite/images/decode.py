"""Bytes of unknown origin -> a checked, upright, opaque RGB image, the same wherever an image is looked at.

The content decides the format, never a name or a header. Nothing here knows of HTTP, and the process-wide
switches of Pillow are left alone: formats and limits are arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from io import BytesIO
from typing import Final

from PIL import Image

from ait_lite.images.errors import EmptyImage, ImageError, TooManyPixels, UndecodableImage, UnsupportedFormat
from ait_lite.images.formats import FORMATS, kind_of, listed, plugin
from ait_lite.images.limits import ImageLimits, check_size
from ait_lite.images.pixels import Pixels, to_image
from ait_lite.images.plain_jpeg import decode_plain_jpeg, plain_jpeg_size
from ait_lite.images.upright import upright_rgb

# Encoders write about ten scans. Each costs a pass over the whole image but only a few bytes: a small
# file with thousands of them would keep a processor busy for minutes.
MAX_JPEG_SCANS = 50


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
        raise EmptyImage(f"There are no bytes. Send the content of a {listed(formats)} file.")
    kind = kind_of(data)
    if kind not in formats:
        raise UnsupportedFormat(f"This is not a {listed(formats)} image. Convert it to one of these.")
    if kind == "image/jpeg" and (size := plain_jpeg_size(data)):
        check_size(size, limits)
        if admit:
            admit(size[0] * size[1])
            admit = None  # it has; what follows is for the same pixels, if they need another decoder
        if (pixels := decode_plain_jpeg(data)) is not None:
            return pixels
    with _DAMAGE_NAMED:
        # Opening a WebP file already allocates its canvas.
        image = None if kind == "image/webp" else plugin(kind)(BytesIO(data))
        size = _webp_size(data) if image is None else image.size
        check_size(size, limits)
    if admit:
        admit(size[0] * size[1])
    with _DAMAGE_NAMED:
        if image is None:
            image = plugin(kind)(BytesIO(data))
            check_size(image.size, limits)
        if image.info.get("progressive") and _too_many_scans(data):
            raise UndecodableImage(f"The JPEG has more than {MAX_JPEG_SCANS} scans.")
        return upright_rgb(image)


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
    if kind_of(data) not in formats:
        return UnsupportedFormat(f"This is not a {listed(formats)} image. Convert it to one of these.")
    try:
        check_size(size, limits)
    except ImageError as error:
        return error
    return None


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
