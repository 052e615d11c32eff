"""The section `data` of a recipe."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from training.recipe.section import Count, Flag, Number, Section

Source = Literal["folder", "table", "cifar10", "cifar100", "oxford_iiit_pet", "triangle", "triangle_faithful"]


class DataRecipe(Section):
    """The images, and how they reach the model's input size."""

    source: Source = Field(
        default="folder",
        description="What data.root holds: folder, one folder of images per class; table, a .csv or .parquet file "
        "with the columns path, label and, if wanted, split (train, val or test) and weight (of the image in the "
        "loss); cifar10, cifar100 and oxford_iiit_pet, the published files as torchvision lays them out. triangle is "
        "generated and needs no root; so is triangle_faithful, as the published set is drawn.",
    )
    root: Path | None = Field(
        default=None,
        validate_default=True,
        description="Folder with train/ and val/ (or test/) of one folder per class, or class folders directly; "
        "or what data.source says.",
    )
    layout: Literal["auto", "splits", "classes"] = Field(
        default="auto",
        description="What the folders in data.root are: splits (train, and val or test, in any case) of class "
        "folders, or classes. auto: splits if every folder has such a name and holds folders. Set it where classes "
        "have the names of splits, or other folders lie beside the splits.",
    )
    multi_label: Flag = Field(
        default=False,
        description="Images have any number of classes: the table's column label holds a|b, or nothing for none; or "
        "the table has a column of 0 and 1 for each class instead. Needs loss=bce.",
    )
    validation_fraction: Number | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Share of each class's training images held out for validation. "
        "Left out: the source's own validation or test images are used, or 0.1 where there are none.",
    )
    broken: Literal["error", "skip"] = Field(
        default="error",
        description="Images that cannot be decoded: error ends the run and lists them, skip leaves them out, "
        "named and counted.",
    )
    caching: Literal["none", "ram", "device"] = Field(
        default="ram",
        description="Where decoded images are kept: ram, decoded once into a memory-mapped file; device, the same "
        "and then held on the accelerator; none, decoded anew for every batch, for sets larger than the disk cache "
        "may be.",
    )
    workers: Count = Field(
        default=4,
        ge=0,
        description="Processes that decode images (caching=none) and augment them one by one, "
        "at most one per core; they change no result. "
        "0: the training process does it.",
    )
    balance: Literal["none", "sampler", "loss"] = Field(
        default="none",
        description="What is done about classes with few images: sampler visits them more often, loss weighs them "
        "more, both inversely to their frequency.",
    )
    img_size: Literal["auto"] | Annotated[Count, Field(gt=0)] | None = Field(
        default=None,
        description="Side in pixels of the square that images are brought to, for models that take any, such as "
        "convolutional ones; the model's own if left out. auto: the model's own or about 5/7 or 4/7 of it, the "
        "smallest at which the error of a head in closed form is at most 2 % above the least (method=closed_form, "
        "head_first). Small or blurred images are often told apart better at a smaller size, in less time.",
    )
    mean: tuple[Number, ...] | None = Field(
        default=None, description="Channel means in [0, 1]; the model's if left out."
    )
    std: tuple[Annotated[Number, Field(gt=0)], ...] | None = Field(
        default=None, description="Channel standard deviations; the model's if left out."
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = Field(
        default=None, description="How images of another size are resized; the model's if left out."
    )
    crop_pct: Number | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Share of the resized image kept by the centre crop; the model's if left out.",
    )
    crop_mode: Literal["center", "squash", "border"] | None = Field(
        default=None,
        description="What is done about images of another shape than the model's input. center: what lies beyond it "
        "is cut off; squash: they are pressed into it; border: they are put into a frame. The model's if left out. "
        "With crop_pct=1, squash and border keep the whole image.",
    )
    cache: Path | None = Field(
        default=None, description="Folder for decoded images; the user's cache folder if left out."
    )

    @field_validator("root")
    @classmethod
    def _root_is_given(cls, root: Path | None, info: ValidationInfo) -> Path | None:
        source = info.data.get("source")  # absent where it is itself refused
        if root is None and source not in (None, "triangle", "triangle_faithful"):
            raise PydanticCustomError("missing", "needed by data.source={source}", {"source": source})
        return root
