"""Draw a map of patches over an image, as a PNG file."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from PIL import Image

SIDE = 256  # pixels that the shorter side is enlarged to, at least, by a whole number
_FOR, _AGAINST = (255, 140, 0), (60, 90, 255)  # told apart by people who do not see red or green
_STRONGEST = 0.75  # share of the colour where the map is strongest


def overlay(image: np.ndarray, values: np.ndarray) -> bytes:
    """Lay a map over an image: orange where it is positive, blue where it is negative, stronger where it is larger.

    Args:
        image: Uint8 (channels, height, width), of one channel or three.
        values: (rows, columns), whose patches fill the image.

    Returns:
        The PNG.
    """
    _, height, width = image.shape
    times = -(-SIDE // min(height, width))
    colour = np.ascontiguousarray(np.broadcast_to(image.transpose(1, 2, 0), (height, width, 3)))  # grey has one
    shown = Image.fromarray(colour).resize((width * times, height * times), Image.Resampling.BICUBIC)
    largest = float(np.abs(values).max()) or 1.0
    share = np.abs(values)[..., None] / largest * _STRONGEST
    colours = np.where(values[..., None] > 0, np.array(_FOR), np.array(_AGAINST))
    layer = np.concatenate([colours, 255 * share], axis=2).round().astype(np.uint8)
    patches = Image.fromarray(layer).resize(shown.size, Image.Resampling.NEAREST)
    shown.paste(patches, mask=patches.getchannel("A"))
    file = BytesIO()
    shown.save(file, "PNG")
    return file.getvalue()


def data_uri(media_type: str, data: bytes | str) -> str:
    """Make a `data:` URI of bytes, or of text that is Base64 already."""
    text = data if isinstance(data, str) else base64.b64encode(data).decode()
    return f"data:{media_type};base64,{text}"
