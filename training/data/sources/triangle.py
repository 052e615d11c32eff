"""Triangle: do three clusters of points form an equilateral triangle (arXiv 2103.01197)?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from training.data.samples import LabelledImages
from training.seeds import stream_seed

CLASSES = ("other", "equilateral")
SIZE = 64
TRAINING_IMAGES = 50_000
VALIDATION_IMAGES = 10_000

_MARGIN = 6.0  # pixels from a corner to the image's border: twice the reach, so that no point falls outside
_SHORTEST_SIDE = 16.0  # pixels, so that clusters are apart
_UNEQUAL = 1.25  # the longest side over the shortest one, at least, where a triangle is not equilateral
_POINTS = 12  # in a cluster
_SPREAD = 1.2  # standard deviation of a cluster, pixels
_REACH = 3.0  # farthest that a point is drawn from its corner along an axis, pixels


@dataclass(frozen=True)
class Triangles:
    """Generated images and the geometry they show.

    Attributes:
        images: (N, 1, 64, 64) uint8, white points on black.
        labels: (N,) int64, 1 where the corners form an equilateral triangle; half of the images.
        corners: (N, 3, 2) float64, column and row of each cluster's centre, pixels.
    """

    images: Tensor
    labels: Tensor
    corners: Tensor


def generate_triangles(count: int, seed: int, split: Literal["train", "val"] = "train") -> Triangles:
    """Draw images, half of them (rounded down) of equilateral triangles. A pure function of its arguments.

    Corners are drawn anew until they lie inside the image and at least 16 pixels apart. Triangles that are not
    equilateral have a longest side at least 1.25 times the shortest.
    """
    generator = np.random.default_rng(stream_seed(seed, 0, f"triangle {split}"))
    labels = generator.permutation(np.arange(count) % 2)
    corners = np.empty((count, 3, 2))
    pending = np.arange(count)
    while len(pending):  # drawn again until all fit into the image
        drawn = _draw_corners(generator, labels[pending])
        corners[pending] = drawn
        pending = pending[~_acceptable(drawn, labels[pending])]
    images = _draw_points(generator, corners)
    return Triangles(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(corners))


def triangle_splits() -> tuple[LabelledImages, LabelledImages]:
    """Draw 50,000 training and 10,000 validation images; always the same ones, so that runs can be compared."""
    return _labelled(TRAINING_IMAGES, "train"), _labelled(VALIDATION_IMAGES, "val")


def _labelled(count: int, split: Literal["train", "val"]) -> LabelledImages:
    triangles = generate_triangles(count, seed=0, split=split)
    names = tuple(f"{split}/{index:05d}" for index in range(count))
    return LabelledImages(Path("triangle"), CLASSES, names, triangles.labels, triangles.images)


def _draw_corners(generator: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    corners = generator.uniform(_MARGIN, SIZE - 1 - _MARGIN, (len(labels), 3, 2))
    # The third corner of an equilateral triangle: the first side, turned by 60 degrees one way or the other.
    side = corners[:, 1] - corners[:, 0]
    normal = np.stack([-side[:, 1], side[:, 0]], axis=1) * generator.choice([-1, 1], (len(labels), 1))
    apex = corners[:, 0] + side / 2 + normal * np.sqrt(3) / 2
    corners[:, 2] = np.where(labels[:, None] == 1, apex, corners[:, 2])
    return corners


def _acceptable(corners: np.ndarray, labels: np.ndarray) -> np.ndarray:
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)  # (N, 3)
    shortest, longest = sides.min(axis=1), sides.max(axis=1)
    inside = ((corners >= _MARGIN) & (corners <= SIZE - 1 - _MARGIN)).all(axis=(1, 2))
    acceptable: np.ndarray = inside & (shortest >= _SHORTEST_SIDE) & ((labels == 1) | (longest >= _UNEQUAL * shortest))
    return acceptable


def _draw_points(generator: np.random.Generator, corners: np.ndarray) -> np.ndarray:
    count = len(corners)
    offsets = generator.standard_normal((count, 3, _POINTS, 2), dtype=np.float32) * _SPREAD
    offsets = offsets.clip(-_REACH, _REACH)
    # Around its corner to the rounding of a pixel, for the corners are what the label speaks of.
    offsets -= offsets.mean(axis=2, keepdims=True)
    pixels = np.rint(corners[:, :, None] + offsets).astype(np.int64)
    columns, rows = pixels.reshape(count, 3 * _POINTS, 2).transpose(2, 0, 1)  # (N, 3 * points) each
    images = np.zeros((count, 1, SIZE, SIZE), dtype=np.uint8)
    images[np.arange(count)[:, None], 0, rows, columns] = 255
    return images
