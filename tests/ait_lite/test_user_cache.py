"""Where things are kept that can be made again."""

import os
from pathlib import Path

import pytest

from ait_lite import user_cache
from ait_lite.user_cache import cache_folders, writable_cache


@pytest.fixture(autouse=True)
def _temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))


def test_the_users_cache_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert cache_folders("images") == [
        tmp_path / "cache" / "ait" / "images",
        tmp_path / "temporary" / f"ait-images-{os.getuid()}",
    ]
    assert not (tmp_path / "cache").exists()
    assert writable_cache("images") == tmp_path / "cache" / "ait" / "images"


def test_temporary_files_take_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))  # nothing can be made below a file
    folder = writable_cache("images")
    assert folder == tmp_path / "temporary" / f"ait-images-{os.getuid()}"
    assert folder.stat().st_mode & 0o77 == 0


def test_without_a_home_nothing_is_made_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home(_: type[Path]) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "home", classmethod(no_home))
    assert writable_cache("images") == tmp_path / "temporary" / f"ait-images-{os.getuid()}"


def test_a_folder_of_somebody_else_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "temporary" / "ait-images-12345").mkdir()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(OSError, match="neither"):
        writable_cache("images")


def test_memory_comes_last_and_only_where_it_is_wanted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cache, "MEMORY", tmp_path / "memory")
    assert len(cache_folders("graphs", memory=True)) == 2  # there is none
    (tmp_path / "memory").mkdir()
    *others, last = cache_folders("graphs", memory=True)
    assert last == tmp_path / "memory" / f"ait-graphs-{os.getuid()}"
    assert others == cache_folders("graphs")
    last.mkdir()
    monkeypatch.setattr("os.getuid", lambda: 12345)
    last.rename(tmp_path / "memory" / "ait-graphs-12345")  # of somebody else
    assert cache_folders("graphs", memory=True) == cache_folders("graphs")


def test_where_nothing_can_be_written_there_is_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.gettempdir", nowhere)
    assert cache_folders("images") == [tmp_path / "file" / "ait" / "images"]
    with pytest.raises(OSError, match="neither"):
        writable_cache("images")
