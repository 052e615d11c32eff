"""Make memories in folders of files, as a server or `training.teaching.memory.export` writes them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ait_lite.class_memory import ClassMemory, MemoryFolder, MemoryFolderError, Source, locked, open_memory
from training.errors import DataError
from training.teaching.memory import bind_model


def import_memory(path: Path, file: Path, model: str | None = None, *, replace: bool = False) -> MemoryFolder:
    """Make a memory folder of a file.

    Args:
        path: The folder.
        file: A ``.safetensors`` file of a memory.
        model: A checkpoint folder, or name of a bundled model, that the file's memory was taught with; None is that
            of the memory that is replaced.
        replace: Put what the file holds in the place of all that a memory holds; else the folder must not exist.

    Raises:
        MemoryFolderError: There is something at `path`, or another process is changing it.
        CheckpointError: The model cannot be used.
        DataError: The file holds no memory, or one of another model.
        OSError: The file cannot be read, or the folder not written.
    """
    data = file.read_bytes()
    try:
        memory = ClassMemory.from_bytes(data)
    except ValueError as error:
        raise DataError(f"{file}: {error} Give what `ait memory export` has written.") from error
    with locked(path):
        present = open_memory(path) if path.exists() else None
        if present is not None and not replace:
            raise MemoryFolderError(f"{path} exists already: choose another name, or give --replace.")
        reference = model or (present.model if present else None)
        if reference is None:
            raise DataError("name the model that the memory was taught with: --model.")
        bound = bind_model(reference)
        if present is not None and model is None:
            present.require(bound.fingerprint, reference)
        fingerprint = _fingerprint(data)
        if memory.dim != bound.width or fingerprint not in (None, bound.fingerprint):
            raise DataError(f"{file} was taught with another model than {reference}: name that one with --model.")
        now = datetime.now(UTC).isoformat("T", "seconds")
        sources = {identifier: Source("", "", now) for identifier in memory.ids()}
        folder = MemoryFolder(path, memory, bound.name, bound.fingerprint, sources)
        folder.save()
    return folder


def _fingerprint(data: bytes) -> str | None:
    """Read the fingerprint of the model out of a sound file; None where it does not say."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    try:
        named: dict[str, Any] = json.loads(header["__metadata__"]["binding"])  # as the service writes it
        return str(named["fingerprint"])
    except (KeyError, TypeError, ValueError):
        return None
