"""Folders with one folder of images a class."""

from pathlib import Path

import torch

from training.data.samples import LabelledImages
from training.errors import DataError

EXTENSIONS = frozenset({".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"})
_VALIDATION_NAMES = ("val", "validation", "valid", "test")


def scan_folder(root: str | Path) -> LabelledImages:
    """List the images of a folder of class folders, sorted within a class.

    Raises:
        DataError: No such folder, no class folders, or a class without images.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"no such data folder: {root}")
    classes = tuple(sorted(entry.name for entry in root.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if not classes:
        raise DataError(f"{root} holds no class folders; expected one folder of images a class")
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = sorted(path for path in (root / name).rglob("*") if path.suffix.lower() in EXTENSIONS)
        if not found:
            raise DataError(f"class folder {root / name} holds no images ({', '.join(sorted(EXTENSIONS))})")
        files.extend(path.relative_to(root).as_posix() for path in found)
        labels.extend([label] * len(found))
    return LabelledImages(root, classes, tuple(files), torch.tensor(labels, dtype=torch.int64))


def scan_splits(root: str | Path) -> tuple[LabelledImages, LabelledImages | None]:
    """The training images below a folder, and the validation images if they have a folder of their own.

    Args:
        root: Holds ``train/`` and optionally ``val/`` or ``test/``, or class folders directly.

    Raises:
        DataError: As `scan_folder`; or the two folders hold different classes.
    """
    root = Path(root)
    if not (root / "train").is_dir():
        return scan_folder(root), None
    train = scan_folder(root / "train")
    held_out = validation_folder(root)
    if held_out is None:
        return train, None
    validation = scan_folder(held_out)
    if validation.classes != train.classes:
        different = sorted(set(validation.classes) ^ set(train.classes))
        raise DataError(f"{train.origin} and {held_out} hold different classes: {', '.join(different)}")
    return train, validation


def validation_folder(root: Path) -> Path | None:
    """The folder of validation images below `root`, if there is one."""
    return next((root / name for name in _VALIDATION_NAMES if (root / name).is_dir()), None)
