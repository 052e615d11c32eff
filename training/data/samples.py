"""Labelled images that are not yet decoded: what every source of data yields."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ait_lite.images.files import read_image
from ait_lite.names import to_path


@dataclass(frozen=True)
class LabelledImages:
    """Images of known classes, as files or as pixels in memory.

    Attributes:
        origin: Where they come from, for messages; where they are files, the folder that names start from.
        classes: Class names; their positions are the labels.
        names: One printable, unique name for each image; where images are files, the path relative to `origin`
            as `ait_lite.names` writes it.
        labels: (N,) int64, the class of each image; of several, the first.
        pixels: (N, C, H, W) uint8, or None where the images are files.
        remarks: What a person should know of how they were found, a line each.
        signatures: (N, S) uint8, by which copies of an image are found (`training.data.duplicates`); None where
            the images were not read yet.
        targets: (N, classes) float32, 1 for each class that an image has, where it may have any number of them; None
            where each has one.
        weights: (N,) float32, how much each image counts in the loss; None where all count alike.
    """

    origin: Path
    classes: tuple[str, ...]
    names: tuple[str, ...]
    labels: Tensor
    pixels: Tensor | None = None
    remarks: tuple[str, ...] = ()
    signatures: Tensor | None = None
    targets: Tensor | None = None
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.names)

    def select(self, indices: Sequence[int]) -> "LabelledImages":
        """Take the images at some positions, in the order given; remarks are of all, and stay behind."""
        chosen = torch.tensor(indices, dtype=torch.int64)
        return replace(
            self,
            names=tuple(self.names[index] for index in indices),
            labels=self.labels[chosen],
            pixels=None if self.pixels is None else self.pixels[chosen],
            remarks=(),
            signatures=None if self.signatures is None else self.signatures[chosen],
            targets=None if self.targets is None else self.targets[chosen],
            weights=None if self.weights is None else self.weights[chosen],
        )

    def file(self, index: int) -> Path:
        """Return the path of the image at a position, where images are files."""
        return self.origin / to_path(self.names[index])

    def image(self, index: int) -> Image.Image:
        """Read the image at a position, as `ait_lite.images.decode` sees it everywhere: upright, opaque, in sRGB.

        Raises:
            OSError: The file is missing or cannot be read.
            ImageError: It is no image, is damaged, or has too many pixels.
        """
        if self.pixels is None:
            return read_image(self.file(index))
        pixels = self.pixels[index].numpy()
        shaped = pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0))
        return Image.fromarray(shaped).convert("RGB")
