"""Augmentation of single images in the workers that load them: what does not go as one operation on a batch."""

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import InterpolationMode

from training.data.preprocessing import Preprocessing
from training.errors import RecipeError
from training.recipe.keys import AugmentRecipe


class ImageTransform:
    """A torchvision transform of images as a function of an image and a seed.

    Can be pickled. Not for several threads of one process, for torchvision draws from torch's global
    generator, which a call seeds and puts back.

    Args:
        transform: A torchvision transform that takes and returns a tensor.
    """

    def __init__(self, transform: v2.Transform) -> None:
        self._transform = transform

    def __call__(self, image: Tensor, seed: int) -> Tensor:
        """Change an image, (C, H, W) uint8 to (C, H, W) uint8; the same for the same image and seed in [0, 2**63)."""
        with torch.random.fork_rng(devices=[]):
            # Not torch.manual_seed: it would seed the accelerators too, and nobody puts those back.
            torch.default_generator.manual_seed(seed)
            changed: Tensor = self._transform(image)
        return changed


def create_image_transform(recipe: AugmentRecipe, preprocessing: Preprocessing) -> ImageTransform | None:
    """Build the operations that a recipe wants done image by image, or None.

    Args:
        recipe: Reads `resized_crop`, `policy`, `num_ops` and `magnitude`.
        preprocessing: Size of the crop, and the mean colour that fills what a shifted or turned image leaves.

    Raises:
        RecipeError: The policy is not defined for images of so many channels.
    """
    transforms: list[v2.Transform] = []
    # torchvision has no Lanczos filter for tensors, and bicubic is the nearest to it.
    filters = {"nearest": InterpolationMode.NEAREST, "bilinear": InterpolationMode.BILINEAR}
    if recipe.resized_crop is not None:
        transforms.append(
            v2.RandomResizedCrop(
                preprocessing.input_size[1:],
                scale=recipe.resized_crop,
                interpolation=filters.get(preprocessing.interpolation, InterpolationMode.BICUBIC),
            )
        )
    if recipe.policy != "none":
        channels = preprocessing.input_size[0]
        if channels not in (1, 3):
            raise RecipeError(
                f"augment.policy {recipe.policy!r} is for images of 1 or 3 channels, and the model takes {channels}; "
                "set augment.policy=none"
            )
        fill = [round(255 * value) for value in preprocessing.mean]
        bilinear = InterpolationMode.BILINEAR
        transforms.append(
            v2.RandAugment(recipe.num_ops, recipe.magnitude, interpolation=bilinear, fill=fill)
            if recipe.policy == "randaugment"
            else v2.TrivialAugmentWide(interpolation=bilinear, fill=fill)
        )
    return ImageTransform(v2.Compose(transforms)) if transforms else None
