"""Tables of image paths and labels: CSV, or parquet with pyarrow installed."""

import csv
import math
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import torch

from ait_lite.names import to_name
from ait_lite.wording import counted
from training.data.samples import LabelledImages
from training.errors import DataError

_REQUIRED = ("path", "label")
_OPTIONAL = ("split", "weight")
_SPLITS = ("train", "val", "test")
_NAMED_PROBLEMS = 10


def read_table(path: str | Path, multi_label: bool = False) -> dict[str, LabelledImages]:
    """Read the images that a table lists.

    The table has the columns ``path`` (relative to the table's folder) and ``label`` (a name or an integer), and may
    have ``split`` (train, val or test) and ``weight`` (how much an image counts in the loss). Labels that are all
    integers are ordered as numbers, others as text. The classes are those of the whole table, whatever the split.

    Args:
        path: A file that ends in ``.csv`` or ``.parquet``.
        multi_label: Read any number of classes an image: ``a|b`` in the column ``label``, or a column of 0 and 1 for
            each class in its place.

    Returns:
        The images of each split that occurs, in the table's order; one split, ``train``, where the table
        has no such column.

    Raises:
        DataError: The table is missing, unreadable or empty, lacks a column or a value, has an unknown
            split or a weight that is no number from 0 up, or lists an image twice or one that does not exist.
    """
    path = Path(path)
    columns = _read_columns(path, multi_label)
    paths = columns["path"]
    splits = columns.get("split", ["train"] * len(paths))
    unknown = [f"row {row}: {split}" for row, split in enumerate(splits, 1) if split not in _SPLITS]
    if unknown:
        raise DataError(f"{path}: column 'split' holds {_some(unknown)}; expected {', '.join(_SPLITS)}")
    twice = [name for name, times in Counter(paths).items() if times > 1]
    if twice:
        raise DataError(f"{path} lists images more than once: {_some(twice)}")
    missing = [name for name in paths if not (path.parent / name).is_file()]
    if missing:
        raise DataError(
            f"{path} lists {counted(len(missing), 'image')} not to be found below {path.parent}: {_some(missing)}; "
            "paths are relative to the table's folder"
        )
    sets = _label_sets(path, columns, multi_label)
    classes = _ordered({name for labels in sets for name in labels})
    number = {name: index for index, name in enumerate(classes)}
    indices = [sorted(number[name] for name in labels) for labels in sets]
    targets = torch.zeros(len(indices), len(classes)) if multi_label else None
    if targets is not None:
        for row, chosen in enumerate(indices):
            targets[row, chosen] = 1
    everything = LabelledImages(
        path.parent,
        classes,
        tuple(map(to_name, paths)),
        torch.tensor([chosen[0] if chosen else 0 for chosen in indices], dtype=torch.int64),
        targets=targets,
        weights=_weights(path, columns["weight"]) if "weight" in columns else None,
    )
    positions: dict[str, list[int]] = {}
    for index, split in enumerate(splits):
        positions.setdefault(split, []).append(index)
    return {split: everything.select(chosen) for split, chosen in positions.items()}


def table_splits(path: str | Path, multi_label: bool = False) -> tuple[LabelledImages, LabelledImages | None]:
    """Read a table's training images, and its validation (else its test) images if it tells them apart.

    Args:
        path: As for `read_table`.
        multi_label: Likewise.

    Raises:
        DataError: As `read_table`; or no row is for training.
    """
    splits = read_table(path, multi_label)
    if "train" not in splits:
        raise DataError(f"{path}: no row has the split 'train'")
    return splits["train"], splits.get("val", splits.get("test"))


def _label_sets(path: Path, columns: dict[str, list[str]], multi_label: bool) -> list[list[str]]:
    """List the classes of each row."""
    if not multi_label:
        return [[label] for label in columns["label"]]
    if "label" in columns:
        return [[part.strip() for part in label.split("|") if part.strip()] for label in columns["label"]]
    names = [name for name in columns if name not in ("path", *_OPTIONAL)]
    wrong = [
        f"row {row}: {name}={value}"
        for name in names
        for row, value in enumerate(columns[name], 1)
        if value not in ("0", "1")
    ]
    if wrong:
        raise DataError(f"{path}: columns of classes hold {_some(wrong)}; expected 0 or 1")
    return [[name for name in names if columns[name][row] == "1"] for row in range(len(columns["path"]))]


def _read_columns(path: Path, multi_label: bool) -> dict[str, list[str]]:
    """Read columns as text, checked to be there and without empty values."""
    if not path.is_file():
        raise DataError(f"no such table: {path}; name a .csv or .parquet file")
    if path.suffix == ".csv":
        found = _read_csv(path)
    elif path.suffix == ".parquet":
        found = _read_parquet(path, everything=multi_label)
    else:
        raise DataError(f"{path} is neither a .csv nor a .parquet table")
    # Without the column label, every further column is a class.
    by_column = multi_label and "label" not in found and set(found) > {"path", *_OPTIONAL} & set(found)
    required = ("path",) if by_column else _REQUIRED
    lacking = [name for name in required if name not in found]
    if lacking:
        raise DataError(f"{path} lacks the column {' and '.join(map(repr, lacking))}; it has {', '.join(found)}")
    columns = found if by_column else {name: found[name] for name in (*_REQUIRED, *_OPTIONAL) if name in found}
    if not columns["path"]:
        raise DataError(f"{path} lists no images")
    empty = [
        f"row {row}: {name}"
        for name, values in columns.items()
        for row, value in enumerate(values, 1)
        if not value and not (multi_label and name == "label")
    ]
    if empty:
        raise DataError(f"{path} has empty values: {_some(empty)}")
    return columns


def _read_csv(path: Path) -> dict[str, list[str]]:
    try:
        # utf-8-sig: spreadsheets write a byte order mark, which would become part of the first column's name.
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a CSV table: {error}") from None
    # What a row holds beyond the columns is kept under None.
    long = [f"row {number}" for number, row in enumerate(rows, 1) if None in row]
    if long:
        raise DataError(f"{path} has more values than columns in {_some(long)}; quote values that hold commas")
    return {name: [(row[name] or "").strip() for row in rows] for name in reader.fieldnames or ()}


def _read_parquet(path: Path, everything: bool) -> dict[str, list[str]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise DataError(
            f"reading {path} needs pyarrow: pip install 'associative-transformer[tables]', or give a .csv table"
        ) from None
    try:
        schema = parquet.read_schema(path)
        wanted = [name for name in schema.names if everything or name in (*_REQUIRED, *_OPTIONAL)]
        values = parquet.read_table(path, columns=wanted).to_pydict()
    except (ArrowException, OSError) as error:
        raise DataError(f"{path} is not a parquet table: {error}") from None
    columns = {name: ["" if value is None else str(value) for value in values[name]] for name in wanted}
    # A table without the wanted columns is told by the names that it has.
    return (
        columns
        if everything or set(_REQUIRED) <= columns.keys()
        else {name: columns.get(name, []) for name in schema.names}
    )


def _weights(path: Path, values: list[str]) -> torch.Tensor:
    """Read the column of weights, (N,) float32."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return math.nan

    numbers = [number(value) for value in values]
    wrong = [
        f"row {row}: {value}"
        for row, (value, weight) in enumerate(zip(values, numbers, strict=True), 1)
        if not 0 <= weight < math.inf
    ]
    if wrong:
        raise DataError(f"{path}: column 'weight' holds {_some(wrong)}; expected numbers from 0 up")
    return torch.tensor(numbers, dtype=torch.float32)


def _ordered(labels: set[str]) -> tuple[str, ...]:
    if all(label.removeprefix("-").isdecimal() for label in labels):
        return tuple(sorted(labels, key=lambda label: (int(label), label)))
    return tuple(sorted(labels))


def _some(items: Iterable[str]) -> str:
    items = list(items)
    more = len(items) - _NAMED_PROBLEMS
    return ", ".join(items[:_NAMED_PROBLEMS]) + (f" and {more} more" if more > 0 else "")
