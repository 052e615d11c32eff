"""Folders with one folder of images for each class."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import torch

from ait_lite.images.files import (
    EXTENSIONS,
    Listing,
    describe_others,
    holds_images,
    list_images,
    visible_folders,
)
from ait_lite.names import to_name
from training.data.samples import LabelledImages
from training.errors import DataError

Layout = Literal["auto", "splits", "classes"]

_VALIDATION_NAMES = ("val", "validation", "valid", "test")
_SPLIT_NAMES = ("train", *_VALIDATION_NAMES)


@contextmanager
def _unlistable_named() -> Iterator[None]:
    """Name a folder that cannot be listed."""
    try:
        yield
    except OSError as error:
        raise DataError(f"{to_name(str(error.filename))} cannot be listed: {error.strerror}") from error


@_unlistable_named()
def scan_folder(root: str | Path, wrapped: bool = False) -> LabelledImages:
    """List the images of a folder of class folders.

    Classes are in natural order (2 before 10), their names in Unicode's composed form; images are sorted within
    a class.

    Args:
        root: The folder.
        wrapped: Take a single folder for a class even if it looks like a folder of class folders.

    Raises:
        DataError: No such folder, no class folders, a class without images, or names that cannot be told apart.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(_no_folder(root))
    folders = sorted(visible_folders(root), key=_natural)
    if not folders:
        raise DataError(f"{root} holds no class folders; expected one folder of images for each class")
    if len(folders) == 1 and not wrapped:
        _refuse_wrapping(root, folders[0])
    classes = _class_names(root, folders)
    files: list[str] = []
    labels: list[int] = []
    others: Counter[str] = Counter()
    again: list[str] = []
    for label, folder in enumerate(folders):
        found = list_images(root / folder)
        if not found.images:
            raise DataError(_without_images(root / folder, found))
        files.extend(to_name(f"{folder}/{path}") for path in found.images)
        labels.extend([label] * len(found.images))
        others += found.others
        again += [f"{folder}/{path}" for path in found.again]
    remarks = describe_others(root, others, again)
    return LabelledImages(root, classes, tuple(files), torch.tensor(labels, dtype=torch.int64), remarks=remarks)


def scan_splits(root: str | Path, layout: Layout = "auto") -> tuple[LabelledImages, LabelledImages | None]:
    """List the training images below a folder, and the validation images if they have a folder of their own.

    Args:
        root: Holds ``train/`` and optionally ``val/`` or ``test/``, or class folders directly.
        layout: Which of the two it is; auto looks (see `find_splits`).

    Raises:
        DataError: As `scan_folder` and `find_splits`; or the two folders hold different classes, or there is none
            to train on.
    """
    root = Path(root)
    splits = find_splits(root, layout)
    if not splits:
        return scan_folder(root, wrapped=layout == "classes"), None
    if "train" not in splits:
        raise DataError(f"{root} holds {', '.join(path.name for path in splits.values())} and no train folder")
    train = scan_folder(splits["train"])
    held_out = validation_folder(splits)
    if held_out is None:
        return train, None
    validation = scan_folder(held_out)
    if validation.classes != train.classes:
        different = sorted(set(validation.classes) ^ set(train.classes))
        raise DataError(f"{train.origin} and {held_out} hold different classes: {', '.join(different)}")
    return train, validation


@_unlistable_named()
def find_splits(root: Path, layout: Layout = "auto") -> dict[str, Path]:
    """Find the folders of splits in a folder, in any case, by their names in lower case.

    Classes may be called like splits. So they are splits only where every folder is called like one and holds
    folders in turn.

    Args:
        root: The data folder.
        layout: auto, as said; splits, whatever lies beside them; classes, none.

    Returns:
        Empty where the folder holds class folders.

    Raises:
        DataError: There is no such folder; the layout cannot be told; or two folders have the same name but for
            their case.
    """
    if not root.is_dir():
        raise DataError(_no_folder(root))
    if layout == "classes":
        return {}
    folders = visible_folders(root)
    named = [name for name in folders if name.casefold() in _SPLIT_NAMES]
    holding = [name for name in named if visible_folders(root / name)]
    if layout == "splits":
        if not holding:
            raise DataError(f"the layout is splits, but {root} holds no folder train with class folders in it")
        return _by_split(root, holding)
    if holding and holding == folders:
        return _by_split(root, holding)
    # A class may hold folders besides its images; where there are folders only, nobody can know.
    doubtful = [name for name in holding if not holds_images(root / name)]
    if doubtful:
        rest = [to_name(name) for name in folders if name not in doubtful]
        raise DataError(
            f"{root}/{doubtful[0]} holds folders as a split does, and beside it is {', '.join(rest[:5])}, which does "
            "not: move that away, or say splits, or classes if each of them is a class (data.layout=splits in a "
            "recipe, --layout splits elsewhere)"
        )
    return {}


def validation_folder(splits: dict[str, Path]) -> Path | None:
    """Return the folder of validation images among those of `find_splits`, if there is one."""
    return next((splits[name] for name in _VALIDATION_NAMES if name in splits), None)


def require_classes(samples: LabelledImages) -> LabelledImages:
    """Refuse images of a single class, which teach nothing.

    Raises:
        DataError: There is one class.
    """
    if len(samples.classes) < 2:
        raise DataError(
            f"{samples.origin} holds a single class, {samples.classes[0]!r}; a classifier tells two or more apart: "
            "expected one folder of images for each class"
        )
    return samples


def _by_split(root: Path, names: list[str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name in names:
        if name.casefold() in found:
            raise DataError(f"{root} holds both {found[name.casefold()].name} and {name}: merge them")
        found[name.casefold()] = root / name
    return found


def _refuse_wrapping(root: Path, name: str) -> None:
    inner = root / name
    while not holds_images(inner):
        folders = visible_folders(inner)
        if not folders:
            return
        if len(folders) > 1:
            named = ", ".join(to_name(folder) for folder in folders[:3]) + (", …" if len(folders) > 3 else "")
            raise DataError(
                f"{root} holds one folder only, and the classes ({named}) lie in {inner}: name that folder "
                "instead; or, if they are parts of one class, say classes (data.layout=classes in a recipe, --layout "
                "classes elsewhere)"
            )
        inner /= folders[0]


def _class_names(root: Path, folders: list[str]) -> tuple[str, ...]:
    names: dict[str, str] = {}
    for folder in folders:
        if any("\ud800" <= sign <= "\udfff" for sign in folder):
            raise DataError(f"class folder {root}/{to_name(folder)} has a name that is not UTF-8: rename it")
        name = unicodedata.normalize("NFC", folder)
        if name in names:
            raise DataError(
                f"{root} holds two class folders called {name!r}, which differ only in how Unicode writes them: "
                "merge them, or rename one"
            )
        names[name] = folder
    return tuple(names)


def _no_folder(root: Path) -> str:
    if root.exists():
        return f"{to_name(str(root))} is a file: name the folder that holds a folder of images for each class"
    return f"no such data folder: {to_name(str(root))}; name one that holds a folder of images for each class"


def _without_images(folder: Path, found: Listing) -> str:
    other = f"; it holds {found.others.total()} other files" if found.others else ""
    return f"class folder {to_name(str(folder))} holds no images ({', '.join(sorted(EXTENSIONS))}){other}"


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Sort numbers within names by their value."""
    parts = re.split("([0-9]+)", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts if part]
