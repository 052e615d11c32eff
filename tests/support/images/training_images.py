"""Folders of made images, and their classes."""

from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 16
CLASSES = ("ant", "bee", "cat")


def write_images(folder: Path, count: int, seed: int, size: int = SIZE) -> None:
    """Write `count` images per class: noise around a colour of the class."""
    generator = np.random.default_rng(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = generator.integers(0, 120, (size, size, 3))
            pixels[..., label] += 80
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{index:03d}.png")
