"""Tables of paths and labels are read alike from CSV and parquet, and refused by what is wrong in them."""

from pathlib import Path
from typing import Any

import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from training.data import Preprocessing, decode, open_evaluation, open_splits
from training.data.sources.splits import SplitDigest, describe_changes
from training.data.sources.table import read_table
from training.errors import DataError
from training.recipe.keys import DataRecipe

PREPROCESSING = Preprocessing((3, 4, 4), "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), 1.0, "center")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Six images, of as many shades of grey, in a folder below the table's."""
    (tmp_path / "images").mkdir()
    for index in range(6):
        Image.new("RGB", (4, 4), (index * 10,) * 3).save(tmp_path / "images" / f"{index}.png")
    return tmp_path


def write(path: Path, columns: dict[str, list[Any]]) -> Path:
    if path.suffix == ".parquet":
        parquet.write_table(pyarrow.table(columns), path)
    else:
        rows = [",".join(columns), *(",".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
        path.write_text("".join(f"{row}\n" for row in rows))
    return path


def paths(*indices: int) -> list[str]:
    return [f"images/{index}.png" for index in indices]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_labels_are_names_in_alphabetical_order(folder: Path, name: str) -> None:
    table = write(folder / name, {"label": ["dog", "cat", "dog"], "path": paths(3, 1, 2), "weight": [1.5, 2.5, 3.5]})
    (samples,) = read_table(table).values()
    assert samples.classes == ("cat", "dog")
    assert samples.labels.tolist() == [1, 0, 1]
    assert samples.names == tuple(paths(3, 1, 2))
    _, images = decode(samples, PREPROCESSING, cache=folder / "cache")
    assert images[:, 0, 0, 0].tolist() == [30, 10, 20]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_labels_that_are_integers_are_in_numerical_order(folder: Path, name: str) -> None:
    table = write(folder / name, {"path": paths(0, 1, 2), "label": [10, 9, 2]})
    (samples,) = read_table(table).values()
    assert samples.classes == ("2", "9", "10")
    assert samples.labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_the_split_column_tells_training_from_validation(folder: Path, name: str) -> None:
    table = write(
        folder / name,
        {
            "path": paths(*range(6)),
            "label": ["a", "b", "a", "b", "a", "c"],
            "split": ["train", "train", "val", "train", "train", "test"],
        },
    )
    train, validation = open_splits(DataRecipe(source="table", root=table), seed=0)
    assert (train.names, validation.names) == (tuple(paths(0, 1, 3, 4)), tuple(paths(2)))
    # Of the whole table, so that labels mean the same in every split.
    assert train.classes == validation.classes == ("a", "b", "c")
    assert open_evaluation("table", table).names == tuple(paths(2))
    listed = folder / "listed.txt"
    listed.write_text("images/4.png\nimages/0.png\n")
    assert open_evaluation("table", table, only=listed).names == tuple(paths(4, 0))


def test_a_fraction_is_held_out_of_a_table_without_splits(folder: Path) -> None:
    table = write(folder / "table.csv", {"path": paths(*range(6)), "label": ["a", "b"] * 3})
    train, validation = open_splits(DataRecipe(source="table", root=table, validation_fraction=0.3), seed=0)
    assert validation.labels.tolist() == [0, 1]
    assert sorted(train.names + validation.names) == paths(*range(6))
    assert len(open_evaluation("table", table)) == 6


def test_spreadsheets_byte_order_mark_and_quotes_are_understood(folder: Path) -> None:
    table = folder / "table.csv"
    table.write_text('path,label\n"images/0.png","a, or b"\nimages/1.png, c \n', encoding="utf-8-sig")
    assert read_table(table)["train"].classes == ("a, or b", "c")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"file": ["images/0.png"], "label": ["a"]}, "lacks the column 'path'; it has file, label"),
        ({"path": [], "label": []}, "lists no images"),
        ({"path": ["images/0.png"] * 2, "label": ["a", "b"]}, "more than once: images/0.png"),
        ({"path": ["images/0.png", "images/7.png"], "label": ["a", "b"]}, "1 image not to be found .*images/7.png"),
        ({"path": ["images/0.png"], "label": ["a"], "split": ["training"]}, "'split' holds row 1: training; expected"),
        ({"path": ["images/0.png"], "label": ["a"], "split": ["val"]}, "no row has the split 'train'"),
        ({"path": ["images/0.png", "images/1.png"], "label": ["a", ""]}, "empty values: row 2: label"),
    ],
)
@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_faulty_tables_are_refused(folder: Path, name: str, columns: dict[str, list[str]], message: str) -> None:
    table = write(folder / name, columns)
    with pytest.raises(DataError, match=message):
        open_splits(DataRecipe(source="table", root=table), seed=0)


def test_files_that_are_no_tables_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="no such table"):
        read_table(folder / "absent.csv")
    with pytest.raises(DataError, match=r"neither a \.csv nor a \.parquet"):
        read_table(folder / "images" / "0.png")
    (folder / "torn.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="not a parquet table"):
        read_table(folder / "torn.parquet")
    (folder / "binary.csv").write_bytes(b"path,label\n\xff\xfe,a\n")
    with pytest.raises(DataError, match="not a CSV table"):
        read_table(folder / "binary.csv")
    (folder / "comma.csv").write_text("path,label\nimages/0.png,a\nimages/1.png,b, or c\n")
    with pytest.raises(DataError, match="more values than columns in row 2; quote"):
        read_table(folder / "comma.csv")


def test_weights_are_read_and_follow_their_images(folder: Path) -> None:
    table = write(folder / "table.csv", {"path": paths(3, 1, 2), "label": ["a", "b", "a"], "weight": [1.5, 0, 3]})
    (samples,) = read_table(table).values()
    assert samples.weights is not None
    assert samples.weights.tolist() == [1.5, 0, 3]
    chosen = samples.select([2, 0])
    assert chosen.weights is not None
    assert chosen.weights.tolist() == [3, 1.5]


@pytest.mark.parametrize("weight", ["-1", "nan", "inf", "much"])
def test_weights_that_are_none_are_named_by_row(folder: Path, weight: str) -> None:
    table = write(folder / "table.csv", {"path": paths(0, 1), "label": ["a", "b"], "weight": [1, weight]})
    with pytest.raises(DataError, match=f"column 'weight' holds row 2: {weight}; expected numbers from 0 up"):
        read_table(table)


def test_a_changed_weight_is_a_changed_image(folder: Path) -> None:
    before, after = (
        next(
            iter(read_table(write(folder / "t.csv", {"path": paths(0, 1), "label": ["a", "b"], "weight": w})).values())
        )
        for w in ([1, 2], [1, 3])
    )
    digest = SplitDigest.of(before, before.select([]))
    assert describe_changes(before, before.select([]), digest) is None
    assert describe_changes(after, after.select([]), digest) == "1 relabelled or weighed otherwise (images/1.png)"
