"""An RGB picture of any size -> the pixels a model takes, in two steps.

`crop` is done a picture, where it was decoded, and leaves bytes: a picture that waits or travels is small.
`normalise` is done a batch, where the model is. Together they equal timm's own evaluation transform.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import timm.data
import torch
from PIL import Image
from torch import Tensor


class Preprocessing:
    """The steps of one model.

    Attributes:
        input_size: (channels, height, width) of a cropped picture.
    """

    def __init__(self, data_config: dict[str, Any]) -> None:
        """`data_config` is what `timm.data.resolve_model_data_config` says, its statistics one a channel."""
        self.input_size: tuple[int, int, int] = tuple(data_config["input_size"])
        self._transform = timm.data.create_transform(**data_config, is_training=False, normalize=False)
        self._mean = torch.tensor(data_config["mean"]).view(-1, 1, 1)
        self._std = torch.tensor(data_config["std"]).view(-1, 1, 1)

    def crop(self, picture: Image.Image) -> np.ndarray:
        """RGB picture of any size -> uint8 array of shape `input_size`."""
        pixels: Tensor = self._transform(picture.convert("L") if self.input_size[0] == 1 else picture)
        return pixels.numpy()

    def normalise(self, batch: Tensor) -> Tensor:
        """uint8 (B, C, H, W) -> float32, by the model's mean and deviation."""
        return batch.to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
