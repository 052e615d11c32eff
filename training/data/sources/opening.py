"""The recipe's choice of data."""

from pathlib import Path

from ait_lite.names import to_path
from training.data.samples import LabelledImages
from training.data.sources.folder import (
    Layout,
    find_splits,
    require_classes,
    scan_folder,
    scan_splits,
    validation_folder,
)
from training.data.sources.splits import choose_validation
from training.data.sources.table import read_table, table_splits
from training.data.sources.torchvision_sets import SETS
from training.data.sources.triangle import triangle_splits
from training.errors import DataError
from training.recipe.keys import DataRecipe


def open_splits(recipe: DataRecipe, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Open the training and the validation images of a recipe.

    Args:
        recipe: Which source, and what to hold out.
        seed: Decides which images are held out.

    Raises:
        DataError: The source's files are missing or cannot be used, or hold a single class.
    """
    train, validation = _splits(recipe.source, recipe.root, recipe.layout, recipe.multi_label)
    return choose_validation(require_classes(train), validation, recipe.validation_fraction, seed)


def open_evaluation(
    source: str,
    root: str | Path | None,
    only: str | Path | None = None,
    layout: Layout = "auto",
    multi_label: bool = False,
) -> LabelledImages:
    """Open the images to evaluate a model on.

    Args:
        source: As the recipe's ``data.source``.
        root: As the recipe's ``data.root``; a folder without ``val/`` or ``test/``, or a table without
            splits, is used whole.
        only: A text file with the names of the images to use, one a line, such as a run's
            ``validation.txt`` where images were held out of the training images.
        layout: As the recipe's ``data.layout``.
        multi_label: As the recipe's ``data.multi_label``.

    Raises:
        DataError: The source's files are missing or cannot be used, or lack images named in `only`, or several splits
            have images of these names, and they are not just all validation images.
    """
    if only is not None:
        return _named(_read_names(only), _candidates(source, root, layout, multi_label))
    if source == "folder" and root is not None:
        splits = find_splits(Path(root), layout)
        if splits:
            return scan_folder(validation_folder(splits) or splits["train"])
        return scan_folder(root, wrapped=layout == "classes")
    if source == "table" and root is not None:
        listed = read_table(root, multi_label)
        return next(listed[name] for name in ("val", "test", "train") if name in listed)
    train, validation = _splits(source, root, layout)
    return train if validation is None else validation


def open_training(
    source: str, root: str | Path | None, exclude: str | Path | None = None, layout: Layout = "auto"
) -> LabelledImages:
    """Open the images that a model was trained on.

    Args:
        source: As the recipe's ``data.source``.
        root: As the recipe's ``data.root``.
        exclude: A text file with the names of images to leave out, one a line, such as a run's
            ``validation.txt`` where images were held out of the training images.
        layout: As the recipe's ``data.layout``.

    Raises:
        DataError: The source's files are missing or cannot be used, or all images are left out.
    """
    samples, validation = _splits(source, root, layout)
    if exclude is None:
        return samples
    names = _read_names(exclude)
    if validation is not None and validation.origin != samples.origin and _all_of(validation, names):
        return samples  # files of other folders, whatever their names
    left_out = set(names)
    kept = [
        index for index, name in enumerate(samples.names) if name not in left_out and to_path(name) not in left_out
    ]
    if not kept:
        raise DataError(f"{exclude} lists every image in {samples.origin}: none is left")
    return samples.select(kept)


def _splits(
    source: str, root: str | Path | None, layout: Layout, multi_label: bool = False
) -> tuple[LabelledImages, LabelledImages | None]:
    if source in ("triangle", "triangle_faithful"):
        return triangle_splits(faithful=source == "triangle_faithful")
    if root is None:
        raise DataError(f"the source {source} needs a data folder: name DATA, or data.root in a recipe")
    if source == "folder":
        return scan_splits(root, layout)
    if source == "table":
        return table_splits(root, multi_label)
    if source not in SETS:
        raise DataError(
            f"no data source {source!r}; choose from folder, table, triangle, triangle_faithful, {', '.join(SETS)}"
        )
    return SETS[source](root)


def _candidates(source: str, root: str | Path | None, layout: Layout, multi_label: bool) -> list[LabelledImages]:
    """Where listed names are looked for; the last is what a run validates on unless it holds training images out."""
    if source == "folder" and root is not None:
        splits = find_splits(Path(root), layout)
        if splits and "train" not in splits:
            held_out = validation_folder(splits)
            return [scan_folder(path) for path in sorted(splits.values(), key=lambda path: path == held_out)]
    return [samples for samples in _splits(source, root, layout, multi_label) if samples is not None]


def _read_names(path: str | Path) -> list[str]:
    """Read a list of names, one a line."""
    try:
        text = Path(path).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no list of names: it is not UTF-8 text, with one name a line") from error
    return [name for name in text.replace("\r\n", "\n").split("\n") if name]


def _named(names: list[str], candidates: list[LabelledImages]) -> LabelledImages:
    unknown: list[str] = []
    found: list[LabelledImages] = []
    for samples in candidates:
        # Lists that were written before names were escaped hold the paths themselves.
        positions = {to_path(name): index for index, name in enumerate(samples.names)}
        positions |= {name: index for index, name in enumerate(samples.names)}
        missing = [name for name in names if name not in positions]
        if names and not missing:
            listed = samples.select([positions[name] for name in names])
            # Names are those within a split, and files are often numbered alike in all of them.
            if samples is candidates[-1] and _all_of(samples, names):
                return listed
            found.append(listed)
        unknown = unknown or missing
    origins = list(dict.fromkeys(str(samples.origin) for samples in found))
    if len(origins) > 1:
        raise DataError(
            f"all {len(names)} listed images are in {' and in '.join(origins)}: name the one that "
            "is meant as DATA, in place of the folder around it"
        )
    if found:
        return found[0]
    origin = candidates[0].origin
    raise DataError(f"{origin} lacks {len(unknown)} of the {len(names)} listed images: {unknown[:5]}")


def _all_of(samples: LabelledImages, names: list[str]) -> bool:
    """Return whether a list names every image of a split and no other."""
    listed = set(names)
    return listed == set(samples.names) or listed == {to_path(name) for name in samples.names}
