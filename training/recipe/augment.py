"""The section `augment` of a recipe."""

from typing import Literal

from pydantic import Field, field_validator

from training.recipe.section import Count, Flag, Fraction, Number, Section


class AugmentRecipe(Section):
    """Random changes to training images, drawn anew for every image and epoch."""

    crop_padding: Count = Field(
        default=4,
        ge=0,
        description="Pixels an image may shift each way; the border is reflected. 0: no shift.",
    )
    flip: Flag = Field(default=True, description="Mirror half of the images left to right.")
    brightness: Number = Field(default=0.0, ge=0, lt=1, description="Largest relative change of brightness.")
    contrast: Number = Field(default=0.0, ge=0, lt=1, description="Largest relative change of contrast.")
    saturation: Number = Field(default=0.0, ge=0, lt=1, description="Largest relative change of saturation.")
    erase: Number = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Side of a grey square laid over every image (cutout, arXiv 1708.04552), as a share of the "
        "image's side. 0: none.",
    )
    policy: Literal["none", "randaugment", "trivialaugment"] = Field(
        default="none",
        description="Random operations on single images while they are loaded: randaugment (arXiv 1909.13719) or "
        "trivialaugment (arXiv 2103.10158, the wide space), as torchvision has them.",
    )
    num_ops: Count = Field(default=2, gt=0, description="Operations per image, of randaugment.")
    magnitude: Count = Field(default=9, ge=0, le=30, description="Strength of randaugment's operations, up to 30.")
    resized_crop: tuple[Fraction, Fraction] | None = Field(
        default=None,
        description="Smallest and largest share of an image's area that a random crop keeps, resized to the input "
        "size while images are loaded, such as [0.08, 1.0]; best with crop_padding 0. Left out: no such crop.",
    )
    random_erasing: Number = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Share of the images that lose a random rectangle, of 0.02 to 1/3 of their area (random erasing, "
        "arXiv 1708.04896).",
    )
    random_erasing_fill: Literal["mean", "noise"] = Field(
        default="mean", description="What fills the rectangle: the channel means, or random bytes."
    )
    mixup: Number = Field(
        default=0.0,
        ge=0,
        description="Alpha of mixup (arXiv 1710.09412): both parameters of its weights' Beta distribution. 0: none.",
    )
    cutmix: Number = Field(
        default=0.0,
        ge=0,
        description="Alpha of cutmix (arXiv 1905.04899). 0: none. With mixup too, each is taken half of the time.",
    )
    mix_per: Literal["batch", "image"] = Field(
        default="batch", description="Draw mixup's and cutmix's weights once per batch, or for every image."
    )
    repeats: Count = Field(
        default=1,
        gt=0,
        description="How often an image comes in a row, each time augmented anew (repeated augmentation, "
        "arXiv 1901.09335); an epoch then has as many updates as before, of fewer different images.",
    )

    @field_validator("resized_crop")
    @classmethod
    def _check_order(cls, value: tuple[float, float] | None) -> tuple[float, float] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("expected the smaller share first")
        return value
