"""A memory in a folder is written as a file that says all that the folder does."""

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from ait_lite.class_memory import ClassMemory, Source, open_memory
from service.memories.exchange import read_file
from service.memories.records import Binding
from training.errors import DataError
from training.teaching.exporting import export
from training.teaching.files import labelled_files
from training.teaching.importing import import_memory
from training.teaching.memory import LocalMemory, create_memory, verify


@pytest.fixture
def folder(checkpoint: Path, images: Path, tmp_path: Path) -> Path:
    create_memory(tmp_path / "memory", str(checkpoint))
    LocalMemory(tmp_path / "memory").teach(labelled_files([images / "taught"]))
    return tmp_path / "memory"


def with_source(folder: Path, path: str) -> str:
    """Have the first example come from a path; return its id."""
    opened = open_memory(folder)
    first = opened.memory.ids()[0]
    opened.sources[first] = replace(opened.sources[first], path=path)
    opened.save()
    return first


def test_the_memory_or_a_table(folder: Path, tmp_path: Path) -> None:
    export(folder, tmp_path / "one.safetensors")
    assert ClassMemory.load(tmp_path / "one.safetensors").digest() == verify(folder).digest
    export(folder, tmp_path / "one.csv")
    rows = (tmp_path / "one.csv").read_text().splitlines()
    assert rows[0] == "id,label,path,sha256,time"
    assert len(rows) == 25
    with pytest.raises(DataError, match=r"\.safetensors"):
        export(folder, tmp_path / "one.zip")


def test_another_folder_knows_as_much(folder: Path, checkpoint: Path, tmp_path: Path) -> None:
    with_source(folder, f"/{'long/' * 40}image.png")
    export(folder, tmp_path / "one.safetensors")
    import_memory(tmp_path / "copy", tmp_path / "one.safetensors", str(checkpoint))
    assert open_memory(tmp_path / "copy").sources == open_memory(folder).sources
    assert asdict(verify(tmp_path / "copy")) == asdict(verify(folder))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("", ""),
        ("images/ant.png", "images/ant.png"),
        ("images/\nant\ud800.png", "images/?ant?.png"),
        (f"/{'long/' * 40}ant.png", f"…{('long/' * 40)[-92:]}ant.png"),
    ],
)
def test_a_server_knows_where_and_when_it_was_taught(folder: Path, tmp_path: Path, path: str, source: str) -> None:
    first = with_source(folder, path)
    opened = open_memory(folder)
    export(folder, tmp_path / "one.safetensors")
    binding = Binding("any", opened.fingerprint, opened.memory.dim)
    options, _, lessons = read_file((tmp_path / "one.safetensors").read_bytes(), binding, None)
    assert options.keep == "thumbnail"  # of what is taught from there on
    assert [each.id for each in lessons] == opened.memory.ids()
    told = {each.id: each for each in lessons}
    assert told[first].source == source
    assert told[first].taught is not None
    assert Source(path, told[first].sha256, opened.sources[first].time) == opened.sources[first]
