"""Bytes of cropped images -> normalised pixels, as timm's evaluation transform makes them, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


class Normalising:
    """Normalise batches for one model."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read the statistics.

        Args:
            config: What `timm.data.resolve_model_data_config` says, with `mean` and `std` one for each channel.
        """
        self._mean = np.asarray(config["mean"], np.float32).reshape(-1, 1, 1)
        self._std = np.asarray(config["std"], np.float32).reshape(-1, 1, 1)

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Normalise uint8 (B, C, H, W), as `ait_lite.images.crop.Cropping` makes each; float32 of the same shape."""
        pixels = images.astype(np.float32)
        pixels /= np.float32(255)
        pixels -= self._mean
        pixels /= self._std
        return pixels
