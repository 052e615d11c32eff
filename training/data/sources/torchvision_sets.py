"""Standard sets in the files their authors publish, read by torchvision; nothing is downloaded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from training.data.samples import LabelledImages
from training.errors import DataError


def cifar10_splits(root: str | Path) -> tuple[LabelledImages, LabelledImages]:
    """Read CIFAR-10's training and test images, from ``<root>/cifar-10-batches-py``.

    Raises:
        DataError: A file is missing, or is not the published one.
    """
    return _cifar(datasets.CIFAR10, Path(root))


def cifar100_splits(root: str | Path) -> tuple[LabelledImages, LabelledImages]:
    """Read CIFAR-100's training and test images under their fine labels, from ``<root>/cifar-100-python``.

    Raises:
        DataError: A file is missing, or is not the published one.
    """
    return _cifar(datasets.CIFAR100, Path(root))


def oxford_iiit_pet_splits(root: str | Path) -> tuple[LabelledImages, LabelledImages]:
    """Read Oxford-IIIT Pet's trainval and test images under their breeds, from ``<root>/oxford-iiit-pet``.

    Raises:
        DataError: A file is missing, or the two splits have different breeds.
    """
    base = Path(root) / "oxford-iiit-pet"
    expected = (base / "images", base / "annotations" / "trainval.txt", base / "annotations" / "test.txt")
    _require("Oxford-IIIT Pet", [path for path in expected if not path.exists()])
    train, test = (_pets(datasets.OxfordIIITPet(root, split, download=False), base) for split in ("trainval", "test"))
    if train.classes != test.classes:
        different = sorted(set(train.classes) ^ set(test.classes))
        raise DataError(f"the annotations in {base} list different breeds: {', '.join(different)}")
    return train, test


def _cifar(dataset: Any, root: Path) -> tuple[LabelledImages, LabelledImages]:
    base = root / dataset.base_folder
    names = [name for name, _ in dataset.train_list + dataset.test_list] + [dataset.meta["filename"]]
    _require(dataset.__name__, [base / name for name in names if not (base / name).is_file()])
    try:
        train, test = (dataset(root, train=train, download=False) for train in (True, False))
    except RuntimeError as error:
        raise DataError(
            f"{dataset.__name__}: a file in {base} is not the published one (its MD5 sum differs); "
            f"unpack {dataset.url} anew"
        ) from error
    return _in_memory(train, base, "train"), _in_memory(test, base, "test")


def _in_memory(dataset: Any, base: Path, split: str) -> LabelledImages:
    return LabelledImages(
        origin=base,
        classes=tuple(dataset.classes),
        names=tuple(f"{split}/{index:05d}" for index in range(len(dataset.data))),
        labels=torch.tensor(dataset.targets, dtype=torch.int64),
        pixels=torch.from_numpy(dataset.data).permute(0, 3, 1, 2).contiguous(),  # (N, H, W, C) -> (N, C, H, W)
    )


def _pets(dataset: Any, base: Path) -> LabelledImages:
    return LabelledImages(
        origin=base,
        classes=tuple(dataset.classes),
        names=tuple(Path(path).relative_to(base).as_posix() for path in dataset._images),
        labels=torch.tensor(dataset._labels, dtype=torch.int64),
    )


def _require(name: str, missing: list[Path]) -> None:
    if missing:
        listed = "\n".join(f"  {path}" for path in missing)
        raise DataError(f"{name}: these files are missing (name the folder that holds theirs):\n{listed}")


# Each takes data.root and returns the training and the validation images.
SETS: dict[str, Callable[[str | Path], tuple[LabelledImages, LabelledImages]]] = {
    "cifar10": cifar10_splits,
    "cifar100": cifar100_splits,
    "oxford_iiit_pet": oxford_iiit_pet_splits,
}
