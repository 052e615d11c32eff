"""Files and folders that are replaced whole, whatever interrupts."""

import os
from contextlib import suppress
from pathlib import Path

from ait_lite.checkpoint import atomic_file, atomic_folder, repair_folder, write_text


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
