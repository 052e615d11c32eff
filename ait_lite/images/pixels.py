"""A decoded image, in the form that costs least."""

import numpy as np
from PIL import Image

# An image in mode RGB, or its pixels as uint8 of shape (height, width, 3).
Pixels = Image.Image | np.ndarray


def to_image(pixels: Pixels) -> Image.Image:
    """Make an image in mode RGB of what `decode_pixels` returns."""
    return Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
