"""Graphs are made once, kept by what they depend on, and made anew where the files are damaged."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ait.export import graph
from ait_lite import user_cache
from ait_lite.checkpoint import CONFIG, MANIFEST, WEIGHTS
from ait_lite.runtimes.prepared import GRAPH
from service.model_process.classifier import Classifier
from service.model_process.runtimes import graphs
from service.model_process.runtimes.graphs import Graphs, NoGraph
from service.repository.folders import locate


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, prepared_folder: Path) -> list[Path]:
    """The folders in which graphs were made; a copy stands for each, which takes no time."""
    folders: list[Path] = []

    def copy(model: Any, folder: Path, *_: Any, **__: Any) -> None:
        folders.append(folder)
        shutil.copytree(prepared_folder, folder, dirs_exist_ok=True)

    monkeypatch.setattr(graph, "write_graphs", copy)
    return folders


def take(folder: Path, cache: Path, *, int8: bool = False) -> Path:
    torch_model = Classifier(locate(folder)).torch_model
    with Graphs(locate(folder), torch_model, cache=cache).prepared(int8=int8) as prepared:
        assert np.isfinite(prepared.reference().outputs.logits).all()
        return prepared.folder


def test_a_graph_is_made_once(model_folder: Path, tmp_path: Path, made: list[Path]) -> None:
    entry = take(model_folder, tmp_path)
    assert take(model_folder, tmp_path) == entry
    assert len(made) == 1
    assert take(model_folder, tmp_path, int8=True) != entry


def test_other_libraries_or_another_processor_have_another_graph(
    model_folder: Path, tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    entries = {take(model_folder, tmp_path)}
    monkeypatch.setattr(graph, "library_versions", lambda: {"torch": "0"})
    entries.add(take(model_folder, tmp_path))
    monkeypatch.setattr(graphs, "processor_features", lambda: frozenset({"abacus"}))
    entries.add(take(model_folder, tmp_path))
    copy = Path(shutil.copytree(model_folder, tmp_path / "copy"))
    (copy / CONFIG).write_text(json.dumps(json.loads((copy / CONFIG).read_text()) | {"temperature": 2.0}))
    entries.add(take(copy, tmp_path))
    assert len(entries) == len(made) == 4


@pytest.mark.parametrize("damage", ["truncated", "manifest", "empty", "other weights"])
def test_a_damaged_one_is_made_anew(model_folder: Path, tmp_path: Path, made: list[Path], damage: str) -> None:
    entry = take(model_folder, tmp_path)
    if damage == "truncated":
        (entry / GRAPH).write_bytes((entry / GRAPH).read_bytes()[:-100])
    elif damage == "manifest":
        (entry / MANIFEST).write_text("[" * 100_000)
    elif damage == "empty":
        (entry / MANIFEST).unlink()
    else:
        manifest = json.loads((entry / MANIFEST).read_text())
        (entry / MANIFEST).write_text(json.dumps(manifest | {"weights": "0" * 64}))
    assert take(model_folder, tmp_path) == entry
    assert len(made) == 2


@pytest.mark.parametrize("note", [b"", b"\xff\xfe"])
def test_a_damaged_note_of_a_failure_counts_for_nothing(
    model_folder: Path, tmp_path: Path, made: list[Path], note: bytes
) -> None:
    entry = take(model_folder, tmp_path)
    shutil.rmtree(entry)
    entry.with_suffix(".failed").write_bytes(note)
    assert take(model_folder, tmp_path) == entry
    assert len(made) == 2


def test_what_was_used_longest_ago_is_forgotten(
    model_folder: Path, tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST_ENTRIES", 1)
    first = take(model_folder, tmp_path)
    second = take(model_folder, tmp_path, int8=True)
    assert second.exists()
    assert not first.exists()


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file, below which nothing can be made; the user's cache and temporary files would be there."""
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(file))
    monkeypatch.setattr("tempfile.tempdir", str(file))
    monkeypatch.setattr(user_cache, "MEMORY", file)
    return file


@pytest.mark.parametrize("place", ["temporary", "memory"])
def test_a_private_folder_takes_the_place_of_a_cache_that_cannot_be_written(
    model_folder: Path,
    tmp_path: Path,
    made: list[Path],
    read_only: Path,
    place: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / place).mkdir()
    if place == "temporary":
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / place))
    else:
        monkeypatch.setattr(user_cache, "MEMORY", tmp_path / place)
    entry = take(model_folder, read_only / "cache")
    private = tmp_path / place / f"ait-graphs-{os.getuid()}"
    assert entry.parent == private
    assert private.stat().st_mode & 0o77 == 0
    assert f"graphs are kept in {private}" in caplog.text
    assert f"{read_only / 'cache'}: Not a directory" in caplog.text
    assert "AIT_CACHE" in caplog.text
    assert take(model_folder, read_only / "cache") == entry
    assert len(made) == 1


def test_where_nothing_can_be_written_the_reason_names_what_helps(
    model_folder: Path, made: list[Path], read_only: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NoGraph, match=r"AIT_CACHE.*--tmpfs /tmp"):
        take(model_folder, read_only / "cache")
    assert "cannot be served faster than in torch" in caplog.text
    assert "Not a directory" in caplog.text
    assert not made


def test_in_memory_fewer_are_kept(
    model_folder: Path, tmp_path: Path, made: list[Path], read_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    monkeypatch.setattr(user_cache, "MEMORY", memory)
    monkeypatch.setattr(graphs, "MEMORY", memory)
    monkeypatch.setattr(graphs, "MOST_IN_MEMORY", 1)
    first = take(model_folder, read_only)
    assert take(model_folder, read_only, int8=True).exists()
    assert not first.exists()


def test_a_folder_without_room_is_passed_over(
    model_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(model: Any, folder: Path, *_: Any, **__: Any) -> None:
        if folder.is_relative_to(tmp_path / "full"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        shutil.copytree(prepared_folder, folder, dirs_exist_ok=True)

    monkeypatch.setattr(graph, "write_graphs", write)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "roomy"))
    torch_model = Classifier(locate(model_folder)).torch_model
    with Graphs(locate(model_folder), torch_model, cache=tmp_path / "full", apart=True).prepared(int8=False) as found:
        assert found.folder.is_relative_to(tmp_path / "roomy")


def test_nothing_but_graphs_and_the_latest_failures_is_left(
    model_folder: Path, tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST_ENTRIES", 2)
    for number in range(4):
        (tmp_path / f"{number}.failed").write_text("it cannot be traced")
        os.utime(tmp_path / f"{number}.failed", (number, number))
    entry = take(model_folder, tmp_path)
    assert sorted(each.name for each in tmp_path.iterdir()) == sorted(["2.failed", "3.failed", entry.name])


def test_no_graph_without_torch(model_folder: Path, prepared_folder: Path, tmp_path: Path) -> None:
    with (
        pytest.raises(NoGraph, match="without torch none can be made"),
        Graphs(locate(model_folder), None, cache=tmp_path).prepared(int8=False),
    ):
        pass
    with Graphs(locate(prepared_folder), None, cache=tmp_path).prepared(int8=False) as prepared:
        assert prepared.folder == prepared_folder
    assert not (prepared_folder / WEIGHTS).exists()
    assert not list(tmp_path.iterdir())
