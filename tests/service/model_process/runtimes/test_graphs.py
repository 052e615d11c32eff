"""Graphs are made once, kept by what they depend on, and made anew where the files are damaged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ait.export import graph
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


def test_what_was_used_longest_ago_is_forgotten(
    model_folder: Path, tmp_path: Path, made: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graphs, "MOST_ENTRIES", 1)
    first = take(model_folder, tmp_path)
    second = take(model_folder, tmp_path, int8=True)
    assert second.exists()
    assert not first.exists()


def test_a_cache_that_cannot_be_written_is_done_without(model_folder: Path, tmp_path: Path, made: list[Path]) -> None:
    (tmp_path / "file").touch()
    entry = take(model_folder, tmp_path / "file" / "cache")
    assert not entry.exists()  # any more
    assert len(made) == 1


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
