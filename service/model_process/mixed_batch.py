"""A batch of cropped images (bytes) and of inputs that are normalised already (floats), each kind in one array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class MixedBatch(NamedTuple):
    """The inputs of a batch, apart by type.

    Attributes:
        images: Uint8 (P, C, H, W), images as the service crops them; None if there are none.
        pixels: Float32 (F, C, H, W), normalised already; None if there are none.
        pixel_places: Where those of `pixels` stand in the batch: F different numbers below P + F.
    """

    images: np.ndarray | None
    pixels: np.ndarray | None
    pixel_places: list[int]


def split(inputs: Sequence[np.ndarray]) -> MixedBatch:
    """Stack inputs of one shape (C, H, W), each uint8 or float32, by their type."""
    places = [place for place, each in enumerate(inputs) if each.dtype == np.float32]
    pixels = [inputs[place] for place in places]
    images = [each for each in inputs if each.dtype != np.float32] if places else inputs
    return MixedBatch(np.stack(images) if images else None, np.stack(pixels) if pixels else None, places)
