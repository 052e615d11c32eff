"""Images to send: the user's JPEG files, or generated ones."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ait_lite.images.decode import decode
from ait_lite.images.errors import ImageError
from ait_lite.images.limits import ImageLimits

MOST = 512  # files that are kept in memory and sent in turn
_MADE = 64
_QUALITY = 90


class ImagesError(ValueError):
    """Raised where no image can be used; the message names the folder and the remedy."""


def read_images(folder: Path) -> list[bytes]:
    """Read the JPEG files of a folder, at any depth.

    Args:
        folder: searched recursively.

    Returns:
        The contents of the files in sorted order; of more than `MOST` files, `MOST` that are evenly spread.

    Raises:
        ImagesError: there is no file, or the service would refuse one of them.
    """
    files = _files(folder)
    if not files:
        raise ImagesError(f"{folder}: there is no .jpg or .jpeg file. Name a folder that has some, at any depth.")
    images = []
    for file in _spread(files, MOST):
        data = file.read_bytes()
        try:
            decode(data, ImageLimits())
        except ImageError as error:
            raise ImagesError(f"{file}: {error} Take it out of the folder.") from error
        images.append(data)
    return images


def other_images(folder: Path, most: int) -> list[Path]:
    """List files of a folder that `read_images` does not read, at most so many and evenly spread; sorted."""
    files = _files(folder)
    read = set(_spread(files, MOST))
    return _spread([file for file in files if file not in read], most)


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))


def _spread(files: list[Path], most: int) -> list[Path]:
    count = min(most, len(files))
    return [files[index * len(files) // count] for index in range(count)]


def make_images(width: int, height: int, seed: int = 0) -> list[bytes]:
    """Generate JPEG files of smooth colours under a fine grain, about as hard to decode as photographs.

    Args:
        width: in pixels.
        height: in pixels.
        seed: of the random colours.
    """
    random = np.random.default_rng(seed)
    images = []
    for _ in range(_MADE):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        grain = random.integers(-12, 13, (height, width, 1), dtype=np.int16)
        file = BytesIO()
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=_QUALITY)
        images.append(file.getvalue())
    return images
