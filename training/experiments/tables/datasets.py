"""The data sets of the paper's table, where they lie, and how images enter a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.experiments.outcome import Check


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
        test_images: How many there are.
        classes: How many there are.
        augment: As a recipe's section of this name.
        scale: Mean and deviation of the values, where they are far from those of photographs; None: the model's own.
    """

    folder: str | None
    source: str
    img_size: int
    patch_size: int
    batch_size: int
    training_images: int
    test_images: int
    classes: int
    augment: dict[str, Any]
    scale: tuple[float, float] | None = None

    def learnt(self, name: str, accuracy: float) -> Check:
        """Check that a model is better than guessing on the test images."""
        return Check.learnt(name, accuracy, self.classes, self.test_images)

    def recipe(self, root: Path | None) -> dict[str, Any] | None:
        """Write the section ``data`` of a recipe; None where the data are not there.

        CIFAR may lie there as published, or as ``train`` and ``test`` of one folder per class.
        """
        if self.folder is None:
            scale = {} if self.scale is None else {"mean": [self.scale[0]] * 3, "std": [self.scale[1]] * 3}
            return {"source": self.source, **scale}
        place = None if root is None else root / self.folder
        if place is None or not place.is_dir():
            return None
        source = "folder" if (place / "train").is_dir() else self.source
        return {"source": source, "root": str(place)}


_PHOTOGRAPHS: Final = {"crop_padding": 4, "flip": True}
OUR_TRIANGLE: Final = "Triangle (ours)"


def _triangle(source: str, scale: tuple[float, float]) -> TableData:
    # Moved by an augmentation, points would leave the image. They are a few on black.
    still = {"crop_padding": 0, "flip": False}
    return TableData(None, source, 64, 32, 512, 50_000, 10_000, 2, still, scale)


TABLE_DATA: Final = {
    "CIFAR-10": TableData("cifar10", "cifar10", 32, 4, 512, 50_000, 10_000, 10, _PHOTOGRAPHS),
    "CIFAR-100": TableData("cifar100", "cifar100", 32, 4, 512, 50_000, 10_000, 100, _PHOTOGRAPHS),
    "Triangle": _triangle("triangle_faithful", (0.022, 0.147)),
    # Thinner clusters, and no triangle that is nearly equilateral; nothing is published of it.
    OUR_TRIANGLE: _triangle("triangle", (0.0068, 0.082)),
    "Pet": TableData("pet", "oxford_iiit_pet", 224, 16, 128, 3_680, 3_669, 37, _PHOTOGRAPHS),
    "ImageNet-100": TableData("imagenet100", "folder", 224, 16, 512, 126_689, 5_000, 100, _PHOTOGRAPHS),
}
