"""Keep memories in folders in order: list, correct and delete; nothing of this needs the model."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from ait_lite.class_memory import MemoryFolderError, Source, locked, open_memory
from ait_lite.class_memory.folder import DESCRIPTION, EXAMPLES
from ait_lite.class_memory.negatives import NEGATIVE
from training.errors import DataError
from training.teaching.answers import Listed


def list_examples(path: Path, label: str | None = None) -> list[Listed]:
    """List examples by identifier.

    Args:
        path: The memory folder.
        label: Only those of this label.

    Raises:
        MemoryFolderError: The folder is no memory, or is damaged.
    """
    folder = open_memory(path)
    listed = []
    for identifier in folder.memory.ids(label):
        source = folder.sources.get(identifier, Source("", "", ""))
        own = folder.memory.label_of(identifier)
        negative, own = own.startswith(NEGATIVE), own.removeprefix(NEGATIVE)
        listed.append(Listed(identifier, own, negative, source.path, source.sha256, source.time))
    return listed


def correct_examples(path: Path, ids: Sequence[str], label: str) -> int:
    """Correct what examples show; return how many they are.

    Args:
        path: The memory folder.
        ids: Identifiers of the examples.
        label: What they show.

    Raises:
        MemoryFolderError: The folder is no memory, is damaged, or is being changed by another process.
        DataError: An example is not there. Nothing is corrected then.
        ValueError: The label is empty or not valid Unicode.
        OSError: The folder cannot be written.
    """
    with locked(path):
        folder = open_memory(path)
        unknown = [identifier for identifier in ids if identifier not in folder.memory]
        if unknown:
            raise DataError(f"memory {path} holds no example {', '.join(unknown[:5])}.")
        for identifier in ids:
            folder.memory.relabel(identifier, label)
        folder.save()
    return len(ids)


def delete_memory(path: Path) -> None:
    """Delete a memory folder, be it damaged.

    Raises:
        MemoryFolderError: The folder is no memory, holds other things too, or is being changed by another process.
        OSError: The folder cannot be removed.
    """
    if not path.parent.is_dir():  # locking would make it
        raise MemoryFolderError(f"{path} is not there.")
    with locked(path):
        if not (path / DESCRIPTION).is_file():
            raise MemoryFolderError(f"{path} is not a memory: it has no {DESCRIPTION}. It is left as it is.")
        others = sorted({each.name for each in path.iterdir()} - {DESCRIPTION, EXAMPLES})
        if others:
            raise MemoryFolderError(f"{path} holds more than a memory: {', '.join(others[:5])}. Move that away first.")
        shutil.rmtree(path)
