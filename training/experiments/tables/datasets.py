"""The data sets of the paper's table, where they lie, and how images enter a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True)
class TableData:
    """A data set of the table.

    Attributes:
        folder: Its folder in the data folder; None: it is generated.
        source: As a recipe's ``data.source``.
        img_size: Input size in pixels.
        patch_size: Patch size in pixels.
        batch_size: Images of an update in the paper's recipe.
        training_images: How many there are.
        augment: As a recipe's section of this name.
    """

    folder: str | None
    source: str
    img_size: int
    patch_size: int
    batch_size: int
    training_images: int
    augment: dict[str, Any]

    def recipe(self, root: Path | None) -> dict[str, Any] | None:
        """Write the section ``data`` of a recipe; None where the data are not there.

        CIFAR may lie there as published, or as ``train`` and ``test`` of one folder per class.
        """
        if self.folder is None:
            return {"source": self.source}
        place = None if root is None else root / self.folder
        if place is None or not place.is_dir():
            return None
        source = "folder" if (place / "train").is_dir() else self.source
        return {"source": source, "root": str(place)}


_PHOTOGRAPHS: Final = {"crop_padding": 4, "flip": True}

TABLE_DATA: Final = {
    "CIFAR-10": TableData("cifar10", "cifar10", 32, 4, 512, 50_000, _PHOTOGRAPHS),
    "CIFAR-100": TableData("cifar100", "cifar100", 32, 4, 512, 50_000, _PHOTOGRAPHS),
    # Moved by an augmentation, points would leave the image.
    "Triangle": TableData(None, "triangle_faithful", 64, 32, 512, 50_000, {"crop_padding": 0, "flip": False}),
    "Pet": TableData("pet", "oxford_iiit_pet", 224, 16, 128, 3_680, _PHOTOGRAPHS),
    "ImageNet-100": TableData("imagenet100", "folder", 224, 16, 512, 126_689, _PHOTOGRAPHS),
}
