"""The pictures of a benchmark: the user's JPEG files, or made ones."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from ait_lite.decode import ImageError, ImageLimits, decode

MOST = 512  # files that are kept in memory and sent in turn
_MADE = 64
_QUALITY = 90


class PicturesError(ValueError):
    """There are no pictures that can be used; the message names the folder and the remedy."""


def read_pictures(folder: Path) -> list[bytes]:
    """JPEG files at any depth of a folder; of more than `MOST`, that many evenly spread over the sorted list.

    Raises:
        PicturesError: there is none, or one that the service would refuse.
    """
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        raise PicturesError(f"{folder}: there is no .jpg or .jpeg file. Name a folder that has some, at any depth.")
    count = min(MOST, len(files))
    pictures = []
    for file in (files[index * len(files) // count] for index in range(count)):
        data = file.read_bytes()
        try:
            decode(data, ImageLimits())
        except ImageError as error:
            raise PicturesError(f"{file}: {error} Take it out of the folder.") from error
        pictures.append(data)
    return pictures


def make_pictures(width: int, height: int, seed: int = 0) -> list[bytes]:
    """JPEG files of colours that run into each other under a fine grain, of that size in pixels."""
    random = np.random.default_rng(seed)
    pictures = []
    for _ in range(_MADE):
        coarse = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
        grain = random.integers(-12, 13, (height, width, 1), dtype=np.int16)
        file = BytesIO()
        Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=_QUALITY)
        pictures.append(file.getvalue())
    return pictures
