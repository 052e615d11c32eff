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

# The published set: clusters of discs, in mirrored pairs about whole-numbered corners.
_FAITHFUL_MARGIN = 1  # pixels
_FAITHFUL_PAIRS = 4
_DISC = 2  # radius, pixels


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


def generate_triangles(
    count: int, seed: int, split: Literal["train", "val"] = "train", faithful: bool = False
) -> Triangles:
    """Draw images, half of them (rounded down) of equilateral triangles. A pure function of its arguments.

    Corners are drawn anew until they lie inside the image and at least 16 pixels apart. Triangles that are not
    equilateral have a longest side at least 1.25 times the shortest.

    Args:
        count: Images.
        seed: Decides everything.
        split: Images of different splits are drawn independently.
        faithful: Draw as the published set does, for comparison with published figures. Corners are pixels, at any
            distance; the third of an equilateral triangle is rounded towards zero; any triangle that is not drawn so
            is of the other class. A cluster is 8 discs of radius 2, in mirrored pairs within one pixel of the corner.
            Where the published set labels equilateral triangles 0, they are 1 here.
    """
    if faithful:
        return _faithful(count, np.random.default_rng(stream_seed(seed, 0, f"triangle faithful {split}")))
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


def triangle_splits(faithful: bool = False) -> tuple[LabelledImages, LabelledImages]:
    """Draw 50,000 training and 10,000 validation images; always the same ones, so that runs can be compared."""
    return _labelled(TRAINING_IMAGES, "train", faithful), _labelled(VALIDATION_IMAGES, "val", faithful)


def _labelled(count: int, split: Literal["train", "val"], faithful: bool) -> LabelledImages:
    triangles = generate_triangles(count, 0, split, faithful)
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


def _faithful(count: int, generator: np.random.Generator) -> Triangles:
    labels = generator.permutation(np.arange(count) % 2)
    corners = np.empty((count, 3, 2), dtype=np.int64)
    pending = np.arange(count)
    while len(pending):
        drawn = generator.integers(_FAITHFUL_MARGIN, SIZE, (len(pending), 3, 2))
        apexes = [rounded_apex(drawn[:, 0], drawn[:, 1], turn) for turn in (-1, 1)]  # (n, 2) each
        equilateral = labels[pending] == 1
        alike = np.any([(drawn[:, 2] == apex).all(axis=1) for apex in apexes], axis=0)
        drawn[equilateral, 2] = apexes[0][equilateral]
        inside = ((drawn >= _FAITHFUL_MARGIN) & (drawn < SIZE)).all(axis=(1, 2))
        corners[pending] = drawn
        pending = pending[~(inside & (equilateral | ~alike))]
    offsets = generator.integers(-1, 2, (count, 3, _FAITHFUL_PAIRS, 2))
    points = corners[:, :, None] + np.concatenate([offsets, -offsets], axis=2)
    images = draw_discs(points.reshape(count, 3 * 2 * _FAITHFUL_PAIRS, 2))
    return Triangles(torch.from_numpy(images), torch.from_numpy(labels), torch.from_numpy(corners.astype(np.float64)))


def rounded_apex(first: np.ndarray, second: np.ndarray, turn: int) -> np.ndarray:
    """Compute the third corner of equilateral triangles, rounded towards zero as in the published set.

    Args:
        first: Corners, (N, 2) int64.
        second: Corners, (N, 2) int64.
        turn: -1 or 1, to which side of the line from the first to the second; -1 is the published one.
    """
    side = second - first
    normal = np.stack([-side[:, 1], side[:, 0]], axis=1)
    apex: np.ndarray = np.trunc(first + side / 2 + turn * normal * np.sqrt(3) / 2).astype(np.int64)
    return apex


def draw_discs(centres: np.ndarray) -> np.ndarray:
    """Draw images (N, 1, 64, 64) uint8 of discs at centres (N, P, 2), in [0, 64], cut off at the border."""
    count = len(centres)
    reach = np.arange(-_DISC, _DISC + 1)
    column, row = (axis.ravel() for axis in np.meshgrid(reach, reach))
    within = column**2 + row**2 <= _DISC**2
    # One pixel more than the disc on each side: a point may lie one pixel outside of the image.
    border = _DISC + 1
    canvas = np.zeros((count, SIZE + 2 * border, SIZE + 2 * border), dtype=np.uint8)
    number = np.arange(count)[:, None]
    for across, down in zip(column[within], row[within], strict=True):
        canvas[number, centres[..., 1] + down + border, centres[..., 0] + across + border] = 255
    return np.ascontiguousarray(canvas[:, None, border:-border, border:-border])
