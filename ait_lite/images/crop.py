"""An RGB image of any size -> the bytes of a model's input: timm's evaluation transform, without torch.

Resizing and cropping are done for each image, where it was decoded; normalising for each batch, where the model
is. The two together give, to the bit, what `timm.data.create_transform` does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from ait_lite.images.pixels import Pixels, to_image

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "lanczos": Image.Resampling.LANCZOS,
}
_DEFAULT_CROP = 0.875  # timm's


class Cropping:
    """Resize and crop for one model.

    Attributes:
        input_size: (channels, height, width) of what comes out.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        """Read how a model wants its images.

        Args:
            config: What `timm.data.resolve_model_data_config` says, its statistics one for each channel.

        Raises:
            ValueError: It takes images of other channels than grey or RGB, or asks for a filter that there is not.
        """
        channels, height, width = config["input_size"]
        if channels not in (1, 3):
            raise ValueError(f"the model takes images of {channels} channels, and image files are read as grey or RGB")
        self.input_size: tuple[int, int, int] = (channels, height, width)
        share = config.get("crop_pct") or _DEFAULT_CROP
        self._scaled = (math.floor(height / share), math.floor(width / share))
        self._mode = config.get("crop_mode") or "center"
        self._trim = int(config.get("crop_border_pixels") or 0)
        fill = tuple(round(255 * value) for value in config["mean"]) if self._mode == "border" else (0,) * channels
        self._fill = fill[0] if channels == 1 else fill
        if config["interpolation"] not in _RESAMPLING:
            raise ValueError(f"interpolation {config['interpolation']!r} is none of {', '.join(_RESAMPLING)}")
        self._resampling = _RESAMPLING[config["interpolation"]]
        # (height, width) of images whose pixels are the input as they are.
        as_it_is = channels == 3 and not self._trim and self._resized(height, width) == (height, width)
        self._unchanged = (height, width) if as_it_is else None

    def __call__(self, pixels: Pixels) -> np.ndarray:
        """Make of an image in RGB a uint8 array of shape `input_size`."""
        if isinstance(pixels, np.ndarray) and pixels.shape[:2] == self._unchanged:
            return _channels_first(pixels)
        image = to_image(pixels)
        if self.input_size[0] == 1:
            image = image.convert("L")
        if self._trim:
            image = self._without_border(image)
        height, width = self._resized(image.height, image.width)
        if (width, height) != image.size:
            image = image.resize((width, height), self._resampling)
        return _channels_first(np.atleast_3d(np.asarray(self._centre(image))))

    def region(self, width: int, height: int) -> list[float]:
        """Say what part of an image is kept: left, top, right, bottom as shares of its sides.

        Beyond 0 or 1 where the kept part has a frame around the image.
        """
        _, kept_height, kept_width = self.input_size
        inner_width, inner_height = max(width - 2 * self._trim, 1), max(height - 2 * self._trim, 1)
        resized_height, resized_width = self._resized(inner_height, inner_width)
        edges = []
        for full, inner, resized, kept in (
            (width, inner_width, resized_width, kept_width),
            (height, inner_height, resized_height, kept_height),
        ):
            start = _offset(resized, kept)
            edges.append([(min(self._trim, full) + edge / resized * inner) / full for edge in (start, start + kept)])
        (left, right), (top, bottom) = edges
        return [left, top, right, bottom]

    def _without_border(self, image: Image.Image) -> Image.Image:
        left, top = min(self._trim, image.width), min(self._trim, image.height)
        width, height = max(0, image.width - 2 * self._trim), max(0, image.height - 2 * self._trim)
        return image.crop((left, top, left + width, top + height))

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Compute the (height, width) that an image is resized to before it is cropped."""
        scaled_height, scaled_width = self._scaled
        if self._mode == "squash":
            return scaled_height, scaled_width
        if self._mode != "border" and scaled_height == scaled_width:
            short, long = sorted((height, width))
            longer = int(scaled_height * long / short)
            return (longer, scaled_height) if width <= height else (scaled_height, longer)
        choose = max if self._mode == "border" else min
        ratio = choose(height / scaled_height, width / scaled_width)
        return max(1, round(height / ratio)), max(1, round(width / ratio))

    def _centre(self, image: Image.Image) -> Image.Image:
        """Cut out the middle of an image, in a frame where it is too small."""
        _, height, width = self.input_size
        left, top = _offset(image.width, width), _offset(image.height, height)
        if image.width < width or image.height < height:
            canvas = Image.new(image.mode, (width, height), self._fill)
            canvas.paste(image, (-left, -top))
            return canvas
        return image if image.size == (width, height) else image.crop((left, top, left + width, top + height))


def _channels_first(pixels: np.ndarray) -> np.ndarray:
    return np.array(pixels.transpose(2, 0, 1), order="C")  # (H, W, C) -> (C, H, W), its own memory


def _offset(length: int, wanted: int) -> int:
    """Where the middle begins; negative where it is to be padded."""
    return -((wanted - length) // 2) if wanted > length else round((length - wanted) / 2)
