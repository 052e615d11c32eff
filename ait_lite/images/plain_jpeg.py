"""Small JPEG files that hold pixels and nothing else, decoded without the layers of a library for all formats.

For a thumbnail, those layers take several times as long as decoding does. Both ends are libjpeg-turbo: pixels are the
same to the bit.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import simplejpeg

# Larger ones take as long either way.
MAX_PIXELS: Final = 256 * 256
MAX_BYTES: Final = 128 * 1024

# Segments that say how the pixels are to be shown (orientation, colour profile, kind of colours), comments, which may
# hold anything, and ways of coding other than the usual. In coded pixels, 0xff is followed by none of these.
_MORE_THAN_PIXELS: Final = re.compile(rb"\xff[\xc1-\xc3\xc5-\xcf\xe1-\xef\xfe]")
# There is one; in a file with thousands, each costs a pass over the image with either decoder.
_SCAN: Final = b"\xff\xda"
_COLOURS: Final = frozenset({"YCbCr", "Gray"})


def plain_jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Read (width, height) in pixels of a file that `decode_plain_jpeg` can decode; None for any other."""
    if len(data) > MAX_BYTES or data.count(_SCAN) != 1 or _MORE_THAN_PIXELS.search(data):
        return None
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    except (ValueError, KeyError):  # the latter for subsamplings that it has no name for
        return None
    return (width, height) if colours in _COLOURS and width * height <= MAX_PIXELS else None


def decode_plain_jpeg(data: bytes) -> np.ndarray | None:
    """Decode a file whose size `plain_jpeg_size` read.

    Returns:
        RGB, uint8 of shape (height, width, 3); None if there is anything wrong with the file, which a decoder that
        forgives more may still read.
    """
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(data)
    except ValueError:
        return None
    return pixels
