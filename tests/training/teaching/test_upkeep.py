"""Memories in folders are kept in order, and nothing else is touched."""

from pathlib import Path

import pytest

from ait_lite.class_memory import MemoryFolderError, open_memory
from training.errors import DataError
from training.teaching.files import labelled_files
from training.teaching.memory import LocalMemory, create_memory
from training.teaching.upkeep import correct_examples, delete_memory, list_examples


@pytest.fixture
def memory(checkpoint: Path, images: Path, tmp_path: Path) -> Path:
    create_memory(tmp_path / "memory", str(checkpoint))
    LocalMemory(tmp_path / "memory").teach(labelled_files([images / "taught"])[:3])
    return tmp_path / "memory"


def test_correcting_is_all_or_nothing(memory: Path) -> None:
    first, second, _ = [each.id for each in list_examples(memory)]
    with pytest.raises(DataError, match="holds no example none"):
        correct_examples(memory, [first, "none"], "bee")
    assert list_examples(memory, "bee") == []
    assert correct_examples(memory, [first, second], "bee") == 2
    assert [each.id for each in list_examples(memory, "bee")] == [first, second]
    assert open_memory(memory).memory.verify()


def test_only_memories_are_deleted(memory: Path, tmp_path: Path) -> None:
    with pytest.raises(MemoryFolderError, match="is not a memory"):
        delete_memory(tmp_path)
    with pytest.raises(MemoryFolderError, match="is not there"):
        delete_memory(tmp_path / "none" / "memory")
    assert not (tmp_path / "none").exists()
    note = memory / "note.txt"
    note.write_text("mine")
    with pytest.raises(MemoryFolderError, match=r"more than a memory: note\.txt"):
        delete_memory(memory)
    note.unlink()
    (memory / "memory.safetensors").write_bytes(b"damaged")
    delete_memory(memory)
    assert list(tmp_path.iterdir()) == []
