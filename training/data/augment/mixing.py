"""Mixup (arXiv 1710.09412) and cutmix (arXiv 1905.04899) of whole batches.

An image's partner is the one half a batch further on. Batches are in random order, so the partner is random;
and where the processes take the images of a batch in turn, and their number divides half the batch, each holds
the partners of its images already.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from training.data.augment.rectangles import area, inside


@dataclass(frozen=True)
class MixingDraws:
    """How each image of a batch is mixed with its partner.

    Attributes:
        blend: (B,) float32, weight of the image outside the box; the partner has the rest.
        box: (B, 4) int64, see `rectangles.inside`: the partner's alone.
        weight: (B,) float32, weight of the image's label: its mean weight over the pixels.
    """

    blend: Tensor
    box: Tensor
    weight: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "MixingDraws":
        return MixingDraws(self.blend[rows], self.box[rows], self.weight[rows])

    def to(self, device: torch.device) -> "MixingDraws":
        """Move the draws to a device."""
        return MixingDraws(*(value.to(device, non_blocking=True) for value in (self.blend, self.box, self.weight)))


class Mixing:
    """Mix images and their labels with their partners'.

    Args:
        mixup: Both parameters of the Beta distribution of mixup's weights; 0: no mixup.
        cutmix: The same of cutmix's; 0: no cutmix. With both, each is taken half of the time.
        per_image: Draw for every image rather than once for the batch.
        size: Height and width of the images.
        num_classes: Length of a target.
    """

    def __init__(self, mixup: float, cutmix: float, per_image: bool, size: tuple[int, int], num_classes: int) -> None:
        self.mixup = mixup
        self.cutmix = cutmix
        self.per_image = per_image
        self.size = size
        self.num_classes = num_classes

    def sample(self, count: int, generator: torch.Generator) -> MixingDraws:
        """Draw for a batch of `count` images."""
        # Torch's Beta distribution draws from the global generator alone.
        numbers = np.random.default_rng(int(torch.randint(2**63 - 1, (), generator=generator)))
        rows = count if self.per_image else 1
        cut = numbers.random(rows) < (0.5 if self.mixup and self.cutmix else float(self.cutmix > 0))
        weight = np.where(
            cut,
            numbers.beta(self.cutmix or 1.0, self.cutmix or 1.0, rows),
            numbers.beta(self.mixup or 1.0, self.mixup or 1.0, rows),
        )
        size = np.array(self.size)
        sides = (size * np.sqrt(1 - weight)[:, None] * cut[:, None]).astype(np.int64)  # (B, 2)
        first = numbers.integers(size, size=(rows, 2)) - sides // 2
        # Cut at the border, so the box's share of the image is not what was drawn.
        corners, ends = first.clip(0, size), (first + sides).clip(0, size)
        box = torch.from_numpy(np.stack([corners[:, 0], ends[:, 0], corners[:, 1], ends[:, 1]], axis=1))
        blend = torch.from_numpy(np.where(cut, 1.0, weight)).float()
        kept = 1 - area(box).double() / float(size.prod())
        return MixingDraws(blend.expand(count), box.expand(count, -1), (blend * kept).float().expand(count))

    def apply(self, images: Tensor, partners: Tensor, draws: MixingDraws) -> Tensor:
        """Mix images with their partners, both (B, C, H, W) float32."""
        blend = draws.blend[:, None, None, None]
        if self.cutmix:
            blend = blend * ~inside(draws.box, *images.shape[-2:])  # (B, 1, H, W)
        return torch.lerp(partners, images, blend)

    def targets(self, labels: Tensor, partners: Tensor, draws: MixingDraws) -> Tensor:
        """Class probabilities of the mixed images: two times (B,) int64 or (B, classes) to (B, classes) float32."""
        mine, theirs = (
            F.one_hot(value, self.num_classes).float() if value.ndim == 1 else value for value in (labels, partners)
        )
        return torch.lerp(theirs, mine, draws.weight[:, None])


def partner_rows(count: int, rows: Tensor) -> Tensor:
    """Return the row of each row's partner in a batch of `count` images; a row alone is its own partner."""
    return (rows + count // 2) % count
