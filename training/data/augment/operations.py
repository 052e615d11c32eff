"""Augmentation of whole batches of bytes on the training device.

What is drawn (`Augmentation.sample`) is kept apart from what is done with it (`Augmentation.apply`): the
draws come from a CPU generator and so do not depend on the device, and the processes of a data-parallel run
can each take their share of one batch's draws.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.recipe.keys import AugmentRecipe

# Luma weights of ITU-R BT.601, as Pillow and torchvision use.
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True)
class Draws:
    """Random numbers of a batch, one row an image.

    Attributes:
        shift: (B, 2) int64, rows and columns to shift by.
        flip: (B,) bool.
        colour: (B, 3) float32, factors of brightness, contrast and saturation.
        centre: (B, 2) float32 in [0, 1), centre of the erased square.
    """

    shift: Tensor
    flip: Tensor
    colour: Tensor
    centre: Tensor

    def __getitem__(self, rows: slice | Tensor) -> "Draws":
        return Draws(self.shift[rows], self.flip[rows], self.colour[rows], self.centre[rows])

    def to(self, device: torch.device) -> "Draws":
        """Move the draws to a device."""
        values = (self.shift, self.flip, self.colour, self.centre)
        return Draws(*(value.to(device, non_blocking=True) for value in values))


class Augmentation:
    """Shift with reflected border, mirror, change colours, erase a square."""

    def __init__(self, recipe: AugmentRecipe) -> None:
        self.recipe = recipe

    def sample(self, count: int, generator: torch.Generator) -> Draws:
        """Draw for `count` images; always the same number of random values, whatever is switched on."""
        recipe = self.recipe
        padding = recipe.crop_padding
        shift = torch.randint(-padding, padding + 1, (count, 2), generator=generator)
        flip = torch.rand(count, generator=generator) < 0.5
        spread = torch.tensor([recipe.brightness, recipe.contrast, recipe.saturation])
        colour = 1 + spread * (2 * torch.rand(count, 3, generator=generator) - 1)
        centre = torch.rand(count, 2, generator=generator)
        return Draws(shift, flip & recipe.flip, colour, centre)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Change a batch.

        Args:
            images: (B, C, H, W) uint8.
            draws: As many draws as images, on the same device.

        Returns:
            (B, C, H, W), uint8, or float32 in [0, 255] where colours change.
        """
        if self.recipe.crop_padding or self.recipe.flip:
            images = shift_and_flip(images, draws.shift, draws.flip)
        if self.recipe.brightness or self.recipe.contrast or self.recipe.saturation:
            images = change_colours(images, draws.colour)
        if self.recipe.erase:
            images = erase_square(images, draws.centre, self.recipe.erase)
        return images


def shift_and_flip(images: Tensor, shift: Tensor, flip: Tensor) -> Tensor:
    """Shift each image by its own rows and columns, reflecting the border, and mirror some.

    Equal to a crop of the reflect-padded image, as one gather and without the padded copy.

    Args:
        images: (B, C, H, W).
        shift: (B, 2) int64, rows and columns, each less than the image's side.
        flip: (B,) bool, which images to mirror left to right.
    """
    height, width = images.shape[-2:]
    device = images.device
    rows = _reflect(torch.arange(height, device=device) + shift[:, :1], height)  # (B, H)
    columns = torch.arange(width, device=device).expand(len(images), -1)
    columns = torch.where(flip[:, None], width - 1 - columns, columns)
    columns = _reflect(columns + shift[:, 1:], width)  # (B, W)
    source = (rows[:, :, None] * width + columns[:, None, :]).flatten(1)  # (B, H*W)
    source = source[:, None].expand(-1, images.shape[1], -1)
    return images.flatten(2).gather(2, source).view_as(images)


def change_colours(images: Tensor, factors: Tensor) -> Tensor:
    """Scale brightness, then contrast, then saturation of each image.

    Args:
        images: (B, C, H, W) with values in [0, 255].
        factors: (B, 3), 1 leaves an image as it is.

    Returns:
        (B, C, H, W) float32 in [0, 255].
    """
    brightness, contrast, saturation = factors[:, :, None, None, None].unbind(1)
    pixels = images.to(torch.float32) * brightness
    grey = _grey(pixels).mean(dim=(2, 3), keepdim=True)
    pixels = grey + (pixels - grey) * contrast
    grey = _grey(pixels)
    return (grey + (pixels - grey) * saturation).clamp_(0, 255)


def erase_square(images: Tensor, centre: Tensor, side: float) -> Tensor:
    """Replace a square of each image by mid-grey.

    Args:
        images: (B, C, H, W) with values in [0, 255].
        centre: (B, 2) in [0, 1), the square's centre as shares of height and width.
        side: The square's side as a share of the image's.
    """
    masks = []
    for axis, length in enumerate(images.shape[-2:]):
        positions = torch.arange(length, device=images.device) + 0.5
        masks.append((positions - centre[:, axis : axis + 1] * length).abs() <= side * length / 2)
    inside = (masks[0][:, :, None] & masks[1][:, None, :])[:, None]  # (B, 1, H, W)
    return images.masked_fill(inside, 128)


def _reflect(index: Tensor, length: int) -> Tensor:
    index = index.abs()
    return torch.where(index >= length, 2 * (length - 1) - index, index)


def _grey(pixels: Tensor) -> Tensor:
    if pixels.shape[1] != 3:
        return pixels.mean(dim=1, keepdim=True)
    # Made on the host and sent without waiting, where a tensor made on the device would wait for its work.
    weights = torch.tensor(_LUMA).to(pixels.device, non_blocking=True).view(1, 3, 1, 1)
    return (pixels * weights).sum(dim=1, keepdim=True)
