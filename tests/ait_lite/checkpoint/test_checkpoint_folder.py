"""The checkpoint folder, read and written without torch."""

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from ait_lite.checkpoint import (
    CheckpointError,
    atomic_file,
    atomic_folder,
    bundled_models,
    label_names,
    named_labels,
    read_config,
    read_temperature,
    repair_folder,
    resolve,
    update_config,
    write_text,
)
from ait_lite.checkpoint.constants import MOST_CONFIG_BYTES


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "before")
    with suppress(RuntimeError), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "before"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_failed_folder_leaves_the_old_one(tmp_path: Path) -> None:
    folder = tmp_path / "best"
    with atomic_folder(folder) as temporary:
        (temporary / "a").write_text("old")
    with suppress(RuntimeError), atomic_folder(folder) as temporary:
        (temporary / "a").write_text("new")
        raise RuntimeError
    assert (folder / "a").read_text() == "old"
    with atomic_folder(folder) as temporary:
        (temporary / "b").write_text("new")
    assert os.listdir(folder) == ["b"]
    assert os.listdir(tmp_path) == ["best"]
    assert folder.stat().st_mode & 0o777 == 0o755


def test_a_replacement_cut_short_is_undone(tmp_path: Path) -> None:
    previous, leftover = tmp_path / ".best-previous", tmp_path / ".best-abc"
    for folder in (previous, leftover):
        folder.mkdir()
    (previous / "a").write_text("old")
    repair_folder(tmp_path / "best")
    assert os.listdir(tmp_path) == ["best"]
    assert (tmp_path / "best" / "a").read_text() == "old"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", '"text"', "[" * 100_000, "{" + " " * MOST_CONFIG_BYTES + "}"],
    ids=["empty", "torn", "list", "string", "nested", "huge"],
)
def test_a_configuration_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_config(tmp_path)


def test_a_missing_configuration_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read: No such file"):
        read_config(tmp_path)


def test_some_keys_are_replaced(tmp_path: Path) -> None:
    write_text(tmp_path / "config.json", json.dumps({"a": 1, "b": 2}))
    update_config(tmp_path, {"b": 3})
    assert read_config(tmp_path) == {"a": 1, "b": 3}


def test_class_names() -> None:
    names = {"label_names": {"10": "k", "2": "c"}}
    assert named_labels(names) == ("c", "k")
    assert label_names(names, 4) == ["0", "1", "c", "3"]
    assert label_names({"pretrained_cfg": {"label_names": ["a", "b"]}}, 2) == ["a", "b"]
    assert label_names({}, 2) == ["0", "1"]
    assert named_labels({"pretrained_cfg": None}) == ()
    for wrong in (["a"], "ab", 3):
        with pytest.raises(CheckpointError, match="list of 2 names"):
            label_names({"label_names": wrong}, 2)


@pytest.mark.parametrize("value", [0, -1, True, "1", float("inf"), float("nan"), [1]])
def test_a_temperature_that_is_no_positive_number_is_refused(value: object) -> None:
    with pytest.raises(CheckpointError, match="temperature"):
        read_temperature({"temperature": value})


def test_temperatures() -> None:
    assert read_temperature({}) is None
    assert read_temperature({"temperature": 2}) == 2.0


def test_bundled_models_are_found_by_name() -> None:
    (name, folder), *_ = bundled_models().items()
    assert read_config(folder)["architecture"] == name.partition(".")[0]
    assert resolve(name) == folder
    assert resolve("elsewhere") == Path("elsewhere")
