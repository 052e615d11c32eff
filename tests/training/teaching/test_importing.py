"""A memory that was written as a file becomes a folder again, of the same model."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ait_lite.checkpoint import fingerprint
from ait_lite.class_memory import ClassMemory, MemoryFolderError
from tests.support.models.small_checkpoints import save_small_checkpoint
from training.errors import DataError
from training.teaching.exporting import export
from training.teaching.files import labelled_files
from training.teaching.importing import import_memory
from training.teaching.memory import LocalMemory, create_memory, verify
from training.teaching.upkeep import list_examples


@pytest.fixture
def file(checkpoint: Path, images: Path, tmp_path: Path) -> Path:
    create_memory(tmp_path / "memory", str(checkpoint))
    LocalMemory(tmp_path / "memory").teach(labelled_files([images / "taught"]))
    export(tmp_path / "memory", tmp_path / "file.safetensors")
    return tmp_path / "file.safetensors"


def telling(file: Path, **members: object) -> Path:
    """Have a file tell more, as that of a server does."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] |= {name: json.dumps(member) for name, member in members.items()}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    told = file.with_name("told.safetensors")
    told.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    return told


def bound_to(file: Path, model: Path) -> Path:
    """Have a file say which model it belongs to."""
    return telling(file, binding={"model": model.name, "fingerprint": fingerprint(model)})


def test_an_imported_memory_is_the_same(file: Path, checkpoint: Path, images: Path, tmp_path: Path) -> None:
    import_memory(tmp_path / "copy", file, str(checkpoint))
    assert verify(tmp_path / "copy") == verify(tmp_path / "memory")
    again = LocalMemory(tmp_path / "copy").teach(labelled_files([images / "taught"]))
    assert (again.added, again.known) == (0, 24)
    with pytest.raises(MemoryFolderError, match="--replace"):
        import_memory(tmp_path / "copy", file, str(checkpoint))
    assert len(import_memory(tmp_path / "copy", file, replace=True).memory) == 24


def test_the_file_of_another_model_is_refused(file: Path, checkpoint: Path, tmp_path: Path) -> None:
    other = save_small_checkpoint(tmp_path / "other", seed=1)
    bound = bound_to(file, checkpoint)
    with pytest.raises(DataError, match="another model"):
        import_memory(tmp_path / "copy", bound, str(other))
    assert not (tmp_path / "copy").exists()
    import_memory(tmp_path / "copy", bound, str(checkpoint))
    narrow = tmp_path / "narrow.safetensors"
    ClassMemory(3).save(narrow)
    with pytest.raises(DataError, match="another model"):
        import_memory(tmp_path / "copy", narrow, replace=True)


def test_what_a_server_was_told_an_image_is_not_counts_here_too(
    file: Path, checkpoint: Path, images: Path, tmp_path: Path
) -> None:
    memory = ClassMemory.load(file)
    asked = sorted((images / "asked").rglob("*.png"))[:1]
    import_memory(tmp_path / "copy", file, str(checkpoint))
    (before,) = LocalMemory(tmp_path / "copy").recall(asked)
    near, label = before.evidence[0].id, before.labels[0][0]
    memory.relabel(near, f"\u00ac{label}")
    memory.save(file)
    import_memory(tmp_path / "copy", file, replace=True)
    (after,) = LocalMemory(tmp_path / "copy").recall(asked)
    assert dict(after.labels)[label] < dict(before.labels)[label]
    assert [name for name, _ in after.labels if name.startswith("\u00ac")] == []
    assert (after.evidence[0].id, after.evidence[0].label, after.evidence[0].negative) == (near, label, True)
    assert after.evidence[0].weight < 0
    listed = {each.id: each for each in list_examples(tmp_path / "copy")}
    assert (listed[near].label, listed[near].negative) == (label, True)


def test_what_no_folder_can_hold_is_refused(file: Path, checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--model"):
        import_memory(tmp_path / "copy", file)
    file.write_bytes(b"nothing")
    with pytest.raises(DataError, match="ait memory export"):
        import_memory(tmp_path / "copy", file, str(checkpoint))
    assert not (tmp_path / "copy").exists()


def test_where_and_when_a_server_was_taught_is_kept(file: Path, checkpoint: Path, tmp_path: Path) -> None:
    columns = {
        "sources": [f"camera {number}" for number in range(24)],
        "sha256": [f"{number:064x}" for number in range(24)],
        "taught": [1_700_000_000.25, None, *[1_600_000_000] * 22],
    }
    before = datetime.now(UTC).isoformat("T", "seconds")
    import_memory(tmp_path / "copy", telling(file, origins=columns), str(checkpoint))
    listed = list_examples(tmp_path / "copy")
    assert [each.source for each in listed] == columns["sources"]
    assert [each.sha256 for each in listed] == columns["sha256"]
    assert (listed[0].time, listed[2].time) == ("2023-11-14T22:13:20+00:00", "2020-09-13T12:26:40+00:00")
    assert listed[1].time >= before
    assert verify(tmp_path / "copy").sound
    del columns["taught"]  # of a server that did not write it yet
    import_memory(tmp_path / "earlier", telling(file, origins=columns), str(checkpoint))
    assert [each.source for each in list_examples(tmp_path / "earlier")] == columns["sources"]
    for wrong in ({}, [], columns | {"sources": ["camera"]}, columns | {"taught": ["once"] * 24}):
        with pytest.raises(DataError, match="where its examples come from"):
            import_memory(tmp_path / "wrong", telling(file, origins=wrong), str(checkpoint))
    assert not (tmp_path / "wrong").exists()
