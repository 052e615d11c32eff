"""Small batches of made images, and what is done with them."""

import torch
from torch import Tensor

from training.data import Preprocessing

SIDE = 12


CLASSES = 5


PREPROCESSING = Preprocessing((3, SIDE, SIDE), "bicubic", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), 1.0, "center")


def some_batch(count: int) -> tuple[Tensor, Tensor]:
    """Make (count, 3, SIDE, SIDE) uint8 images and (count,) int64 labels, the same for the same count."""
    generator = torch.Generator().manual_seed(count)
    images = torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
    return images, torch.randint(0, CLASSES, (count,), generator=generator)
