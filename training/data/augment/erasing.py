"""Random erasing of whole batches of bytes (arXiv 1708.04896)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from training.data.augment.rectangles import inside

# Share of the image that is erased, and height over width: the ranges of timm and torchvision.
_AREA = (0.02, 1 / 3)
_ASPECT = (0.3, 1 / 0.3)
_ATTEMPTS = 10


@dataclass(frozen=True)
class ErasingDraws:
    """What to erase of each image of a batch.

    Attributes:
        box: (B, 4) int64, see `rectangles.inside`; an empty one erases nothing.
        offset: (B,) int64, where in `noise` an image's noise begins.
        noise: (2*C*H*W,) uint8, random bytes that the batch shares; empty where none are needed.
    """

    box: Tensor
    offset: Tensor
    noise: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "ErasingDraws":
        return replace(self, box=self.box[rows], offset=self.offset[rows])

    def to(self, device: torch.device) -> "ErasingDraws":
        """Move the draws to a device."""
        return ErasingDraws(*(value.to(device, non_blocking=True) for value in (self.box, self.offset, self.noise)))


class RandomErasing:
    """Replace a random rectangle of some images.

    The rectangle's area and aspect ratio are drawn until it fits the image, as timm and torchvision do.

    Args:
        probability: Share of the images to erase from.
        fill: ``mean``, the channel means, which normalisation makes zero; or ``noise``, a random byte a value.
        input_size: Channels, height and width of the images.
        mean: Channel means, of values in [0, 1].
    """

    def __init__(self, probability: float, fill: str, input_size: tuple[int, int, int], mean: Sequence[float]) -> None:
        self.probability = probability
        self.fill = fill
        self.input_size = input_size
        self._mean = torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)[:, None, None]

    def sample(self, count: int, generator: torch.Generator) -> ErasingDraws:
        """Draw for `count` images."""
        values, (height, width) = math.prod(self.input_size), self.input_size[1:]
        chosen = torch.rand(count, generator=generator) < self.probability
        shapes = torch.rand(2, count, _ATTEMPTS, generator=generator)
        areas = height * width * _between(shapes[0], *_AREA)
        aspects = _between(shapes[1], math.log(_ASPECT[0]), math.log(_ASPECT[1])).exp()
        sides = torch.stack([areas * aspects, areas / aspects], dim=2).sqrt().round().long()  # (B, attempts, 2)
        limits = torch.tensor([height, width])
        fits = (sides < limits).all(dim=2)
        first = fits.int().argmax(dim=1)  # the first attempt that fits
        sides = sides[torch.arange(count), first] * (chosen & fits.any(dim=1))[:, None]  # (B, 2)
        corners = (torch.rand(count, 2, generator=generator) * (limits - sides + 1)).long()
        ends = corners + sides
        box = torch.stack([corners[:, 0], ends[:, 0], corners[:, 1], ends[:, 1]], dim=1)
        if self.fill == "mean":
            return ErasingDraws(box, torch.zeros(count, dtype=torch.int64), torch.empty(0, dtype=torch.uint8))
        offset = torch.randint(values + 1, (count,), generator=generator)
        noise = torch.randint(256, (2 * values,), dtype=torch.uint8, generator=generator)
        return ErasingDraws(box, offset, noise)

    def apply(self, images: Tensor, draws: ErasingDraws) -> Tensor:
        """Erase from a batch.

        Args:
            images: (B, C, H, W) of the input size, with values in [0, 255].
            draws: As many draws as images, on the same device.

        Returns:
            (B, C, H, W) of the same type.
        """
        if self.fill == "mean":
            filling = self._mean.to(images.device, non_blocking=True)  # (C, 1, 1)
        else:
            # Each image reads the shared bytes from a place of its own: random to it, and far cheaper than
            # drawing bytes for every image on the host.
            windows = draws.noise.unfold(0, math.prod(self.input_size), 1)  # (C*H*W + 1, C*H*W), a view
            filling = windows[draws.offset].view(images.shape)
        return torch.where(inside(draws.box, *images.shape[-2:]), filling.to(images.dtype), images)


def _between(unit: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * unit
