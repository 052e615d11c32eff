"""From bytes to what the model and the loss take, a batch at a time, on the training device.

Draws are made for the whole batch of an update, of which each process takes its rows: a run of many processes
sees what a run of one sees.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.data.augment.erasing import ErasingDraws, RandomErasing
from training.data.augment.mixing import Mixing, MixingDraws, partner_rows
from training.data.augment.operations import Augmentation, Draws
from training.data.preprocessing import Preprocessing
from training.errors import RecipeError
from training.recipe.keys import AugmentRecipe


@dataclass(frozen=True)
class BatchDraws:
    """Random numbers of a batch, on the CPU.

    Attributes:
        augmentation: Shifts, flips and colours.
        erasing: What random erasing erases, if it is on.
        mixing: How mixup and cutmix mix, if one is on.
    """

    augmentation: Draws
    erasing: ErasingDraws | None
    mixing: MixingDraws | None


@dataclass(frozen=True)
class Share:
    """Rows of a batch that a process works on.

    Attributes:
        loaded: (L,) int64, rows whose images are needed: the process's own, then those of partners to be
            mixed in that are not among them.
        own: How many of `loaded` are the process's own.
        partner: (own,) int64, where in `loaded` the partner of each own row is.
    """

    loaded: Tensor
    own: int
    partner: Tensor


class BatchTransform:
    """Augment, erase, normalise and mix a batch.

    Args:
        recipe: What is switched on.
        preprocessing: Size and normalisation of the images.
        num_classes: Classes of the labels.

    Raises:
        RecipeError: The images are too small for the recipe's shift.
    """

    def __init__(self, recipe: AugmentRecipe, preprocessing: Preprocessing, num_classes: int) -> None:
        self.preprocessing = preprocessing
        self.augmentation = Augmentation(recipe)
        size = preprocessing.input_size
        if recipe.crop_padding >= min(size[1:]):
            raise RecipeError(
                f"augment.crop_padding={recipe.crop_padding} moves images of {size[1]} x {size[2]} pixels away: "
                f"set it to {min(size[1:]) // 8}"
            )
        self.erasing: RandomErasing | None = None
        if recipe.random_erasing:
            self.erasing = RandomErasing(recipe.random_erasing, recipe.random_erasing_fill, size, preprocessing.mean)
        self.mixing: Mixing | None = None
        if recipe.mixup or recipe.cutmix:
            self.mixing = Mixing(recipe.mixup, recipe.cutmix, recipe.mix_per == "image", size[1:], num_classes)

    def sample(self, count: int, generator: torch.Generator) -> BatchDraws:
        """Draw for a batch of `count` images; the draws are a function of the generator's state alone."""
        return BatchDraws(
            augmentation=self.augmentation.sample(count, generator),
            mixing=self.mixing.sample(count, generator) if self.mixing else None,
            erasing=self.erasing.sample(count, generator) if self.erasing else None,
        )

    def share(self, count: int, rows: Tensor) -> Share:
        """Select what a process needs that has some rows, (n,) int64 without repetition, of a batch of `count`."""
        if self.mixing is None:
            return Share(rows, len(rows), torch.arange(len(rows)))
        partners = partner_rows(count, rows)
        loaded = torch.cat([rows, partners[~torch.isin(partners, rows)]])
        places = torch.empty(count, dtype=torch.int64)
        places[loaded] = torch.arange(len(loaded))
        return Share(loaded, len(rows), places[partners])

    def apply(self, images: Tensor, labels: Tensor, draws: BatchDraws, share: Share) -> tuple[Tensor, Tensor]:
        """Make the model's input and the loss's targets of a share of a batch.

        Args:
            images: (L, C, H, W) uint8, of the rows `share.loaded`.
            labels: (L,) int64, theirs, on the same device; or (L, classes) float32, 1 for each class that one has.
            draws: Of the whole batch.
            share: The rows.

        Returns:
            Inputs (own, C, H, W) float32; and targets, (own,) int64 labels as they came, or (own, classes) float32
            probabilities where images are mixed.
        """
        device = images.device
        images = self.augmentation.apply(images, draws.augmentation[share.loaded].to(device))
        if self.erasing is not None and draws.erasing is not None:
            images = self.erasing.apply(images, draws.erasing[share.loaded].to(device))
        inputs = self.preprocessing.normalise(images)
        if self.mixing is None or draws.mixing is None:
            return inputs, labels
        own, partner = slice(share.own), share.partner.to(device, non_blocking=True)
        mixing = draws.mixing[share.loaded[own]].to(device)
        targets = self.mixing.targets(labels[own], labels[partner], mixing)
        return self.mixing.apply(inputs[own], inputs[partner], mixing), targets

    def mix_weights(self, weights: Tensor, draws: BatchDraws, share: Share) -> Tensor:
        """Compute how much each image of a share counts, of which a mixed one has a part of its partner's weight.

        Args:
            weights: (L,) float32, of the rows `share.loaded`.
            draws: Of the whole batch.
            share: The rows.

        Returns:
            (own,) float32.
        """
        mine = weights[: share.own]
        if draws.mixing is None:
            return mine
        part = draws.mixing[share.loaded[: share.own]].to(weights.device).weight
        return torch.lerp(weights[share.partner.to(weights.device)], mine, part)
