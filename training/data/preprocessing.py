"""From an image file to the model's input, the way timm's evaluation transform does it.

The work is split in two: `Preprocessing.decode` (resize and crop, once, to bytes) and
`Preprocessing.normalise` (each batch, on the device). Together they equal timm's
``create_transform(is_training=False)``, and what the service does.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from timm.data.model_config import resolve_input_data_config
from torch import Tensor, nn

from ait_lite.images.crop import Cropping
from training.errors import DataError


@dataclass(frozen=True)
class Preprocessing:
    """How images become inputs of a model.

    Attributes:
        input_size: Channels, height and width of the model's input.
        interpolation: Name of the resampling filter.
        mean: Channel means, of values in [0, 1].
        std: Channel standard deviations.
        crop_pct: Share of the resized image that the centre crop keeps.
        crop_mode: timm's crop mode.
    """

    input_size: tuple[int, int, int]
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop_pct: float
    crop_mode: str

    @classmethod
    def of_model(cls, model: nn.Module, **overrides: Any) -> "Preprocessing":
        """Read the preprocessing that a timm model asks for; overrides that are None are left out.

        Raises:
            DataError: It takes images of other channels than grey or RGB, or an override has not as many values.
        """
        given = {key: value for key, value in overrides.items() if value is not None}
        try:
            config = resolve_input_data_config(model, args=given)
        except ValueError as error:  # too many or too few means or deviations
            raise DataError(f"data.{error}") from None
        channels = config["input_size"][0]
        if channels not in (1, 3):
            raise DataError(
                f"the model takes images of {channels} channels, and image files are read as grey or RGB: "
                "train one with model.args.in_chans=1 or 3"
            )
        return cls(
            input_size=tuple(config["input_size"]),
            interpolation=str(config["interpolation"]),
            mean=tuple(float(value) for value in config["mean"]),
            std=tuple(float(value) for value in config["std"]),
            crop_pct=float(config["crop_pct"]),
            crop_mode=str(config["crop_mode"]),
        )

    def data_config(self) -> dict[str, Any]:
        """Return the same settings under timm's names, as a checkpoint's configuration holds them."""
        return asdict(self)

    @cached_property
    def _crop(self) -> Cropping:
        return Cropping(self.data_config())

    def decode(self, image: Image.Image) -> Tensor:
        """Bring an image, as `ait_lite.images.decode` gives it, to the input size: (C, H, W) uint8."""
        return torch.from_numpy(self._crop(image if image.mode == "RGB" else image.convert("RGB")))

    def normalise(self, images: Tensor) -> Tensor:
        """Centre and scale each channel: (B, C, H, W), uint8 or float in [0, 255], to float32."""
        shape = (1, len(self.mean), 1, 1)
        mean = torch.tensor(self.mean, device=images.device).view(shape)
        std = torch.tensor(self.std, device=images.device).view(shape)
        # The same operations in the same order as torchvision's ToTensor and Normalize, to the last bit.
        return images.to(torch.float32).div(255).sub_(mean).div_(std)
