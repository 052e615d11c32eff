"""Labelled images that are not yet decoded: what every source of data yields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor


@dataclass(frozen=True)
class LabelledImages:
    """Images of known classes, as files or as pixels in memory.

    Attributes:
        origin: Where they come from, for messages; where they are files, the folder that names start from.
        classes: Class names; their positions are the labels.
        names: One printable, unique name an image; where images are files, the path relative to `origin`.
        labels: (N,) int64, the class of each image.
        pixels: (N, C, H, W) uint8, or None where the images are files.
    """

    origin: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: Tensor
    pixels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    def select(self, indices: Sequence[int]) -> "LabelledImages":
        """The images at some positions, in the order given."""
        chosen = torch.tensor(indices, dtype=torch.int64)
        return replace(
            self,
            names=tuple(self.names[index] for index in indices),
            labels=self.labels[chosen],
            pixels=None if self.pixels is None else self.pixels[chosen],
        )

    def open(self, index: int) -> Image.Image:
        """The image at a position; where it is a file, opened and not yet read.

        Raises:
            OSError: The file is missing, or no image.
        """
        if self.pixels is None:
            return Image.open(self.origin / self.names[index])
        pixels = self.pixels[index].numpy()
        return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
