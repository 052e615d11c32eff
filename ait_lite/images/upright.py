"""An opened image of any mode -> upright and opaque in RGB."""

from __future__ import annotations

import numpy as np
from PIL import Image

from ait_lite.images.colour_profile import to_srgb
from ait_lite.images.errors import UndecodableImage

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
