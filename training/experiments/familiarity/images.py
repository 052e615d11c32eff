"""Small images of shapes in any colour and place, textures and noise; or images from a folder of classes."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ait_lite.images.decode import decode
from ait_lite.images.limits import ImageLimits
from training.data.samples import LabelledImages
from training.data.sources.folder import scan_splits
from training.errors import DataError

SIZE, SHAPES = 16, 10


def draw_shapes(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one shape an image, of random place, size, turn and colours, with noise.

    Args:
        labels: Which of ten shapes, shape (B,).
        generator: Source of randomness.

    Returns:
        Images of mean about zero, shape (B, 3, SIZE, SIZE).
    """
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    side = torch.linspace(-1, 1, SIZE)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    scale, turn = uniform(0.55, 0.8, 1, 1), uniform(-0.25, 0.25, 1, 1)
    x, y = (columns - uniform(-0.2, 0.2, 1, 1)) / scale, (rows - uniform(-0.2, 0.2, 1, 1)) / scale
    x, y = x * turn.cos() - y * turn.sin(), x * turn.sin() + y * turn.cos()
    radius, far, near = (x.square() + y.square()).sqrt(), x.abs().maximum(y.abs()), x.abs().minimum(y.abs())
    inside = torch.stack(
        [
            radius < 1,  # disc
            far < 0.9,  # square
            x.abs() + y.abs() < 1.1,  # diamond
            (radius < 1) & (radius > 0.6),  # ring
            (near < 0.28) & (far < 1),  # upright cross
            ((x + y).abs().minimum((x - y).abs()) < 0.35) & (far < 0.9),  # diagonal cross
            (y < 0.8) & (y > 2 * x.abs() - 1),  # triangle
            ((y.abs() > 0.45) & (y.abs() < 0.95)) & (x.abs() < 1),  # two level bars
            ((x.abs() > 0.45) & (x.abs() < 0.95)) & (y.abs() < 1),  # two upright bars
            (far < 0.95) & ((x < -0.35) | (y > 0.35)),  # corner
        ]
    )[labels, torch.arange(count)]  # (B, SIZE, SIZE)
    paint, ground = uniform(0.1, 1, 3, 1, 1), uniform(-1, -0.1, 3, 1, 1)  # light on dark, of any hue
    image = torch.where(inside.unsqueeze(1), paint, ground)
    return image + 0.15 * torch.randn(image.shape, generator=generator)


def draw_textures(count: int, channels: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw sums of three waves of random directions and colours; shape (count, channels, size, size)."""
    side = torch.linspace(-1, 1, size)
    rows, columns = torch.meshgrid(side, side, indexing="ij")
    image = torch.zeros(count, channels, size, size)
    for _ in range(3):
        angle, phase = (2 * math.pi * torch.rand(2, count, 1, 1, generator=generator)).unbind(0)
        wave = (4 + 10 * torch.rand(count, 1, 1, generator=generator)) * (
            columns * angle.cos() + rows * angle.sin()
        ) + phase
        image += wave.sin().unsqueeze(1) * torch.randn(count, channels, 1, 1, generator=generator) / 2
    return image


def draw_noise(count: int, channels: int, size: int, generator: torch.Generator) -> Tensor:
    """Draw independent normal pixels; shape (count, channels, size, size)."""
    return torch.randn(count, channels, size, size, generator=generator) / 2


def shape_images(each: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw `each` images of every shape; images and labels, in order of the labels."""
    labels = torch.arange(SHAPES).repeat_interleave(each)
    return draw_shapes(labels, generator), labels


def folder_images(root: Path, each: int, size: int = 32) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Read the first images of every class in ``<root>/train`` and in its validation split.

    Args:
        root: Folder with splits of class folders, such as CIFAR-10's.
        each: Images of a class from the training split; a quarter of that from the other.
        size: Side to which images are resized.

    Returns:
        Training images of mean about zero (N, 3, size, size), their labels, and the same of the other split.

    Raises:
        DataError: The folder has no splits, or fewer than four classes.
    """
    train, other = scan_splits(root)
    if other is None or len(train.classes) < 4:
        raise DataError(f"{root} must have the splits train/ and test/ (or val/), with at least four classes.")
    return *_read(train, each, size), *_read(other, max(each // 4, 1), size)


def _read(images: LabelledImages, each: int, size: int) -> tuple[Tensor, Tensor]:
    """Read the first images of each class; pixels in about [-1, 1]."""
    chosen = [
        position
        for label in range(len(images.classes))
        for position in (images.labels == label).nonzero().squeeze(1)[:each].tolist()
    ]
    pixels = []
    for position in chosen:
        image = decode((images.origin / images.names[position]).read_bytes(), ImageLimits()).resize((size, size))
        pixels.append(np.asarray(image.convert("RGB"), dtype=np.float32).transpose(2, 0, 1))
    return torch.from_numpy(np.stack(pixels)) / 127.5 - 1, images.labels[chosen]
