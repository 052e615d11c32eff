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
        DataError: The source's files are missing or cannot be used, or lack images named in `only`.
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
    samples, _ = _splits(source, root, layout)
    if exclude is None:
        return samples
    left_out = set(_read_names(exclude))
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
    """Where listed names are looked for: held-out images lie among the training images, if there are any."""
    if source == "folder" and root is not None:
        splits = find_splits(Path(root), layout)
        if splits and "train" not in splits:
            return [scan_folder(path) for path in splits.values()]
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
    for samples in candidates:
        # Lists that were written before names were escaped hold the paths themselves.
        positions = {to_path(name): index for index, name in enumerate(samples.names)}
        positions |= {name: index for index, name in enumerate(samples.names)}
        missing = [name for name in names if name not in positions]
        if names and not missing:
            return samples.select([positions[name] for name in names])
        unknown = unknown or missing
    origin = candidates[0].origin
    raise DataError(f"{origin} lacks {len(unknown)} of the {len(names)} listed images: {unknown[:5]}")
