"""Make memories in folders of files, as a server or `training.teaching.exporting` writes them."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ait_lite.class_memory import ClassMemory, MemoryFolder, MemoryFolderError, Source, locked, open_memory
from ait_lite.class_memory.file import read_header
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
    sources = _sources(file, data, memory.ids())
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
        folder = MemoryFolder(path, memory, bound.name, bound.fingerprint, sources)
        folder.save()
    return folder


def _sources(file: Path, data: bytes, ids: Sequence[str]) -> dict[str, Source]:
    """Read out of a sound file where its examples come from, and when they were taught.

    Args:
        file: Its path.
        data: Its content.
        ids: Of all examples, sorted, as the file has them.

    Raises:
        DataError: What it says does not fit the examples.
    """
    now = datetime.now(UTC)
    if (text := _metadata(data).get("origins")) is None:  # which `ClassMemory.save` does not write
        return {identifier: Source("", "", _written(now)) for identifier in ids}
    try:
        told: dict[str, Any] = json.loads(text)
        columns = told.get("paths", told["sources"]), told["sha256"], told.get("taught", [None] * len(ids))
        return {
            identifier: Source(
                str(source), str(digest), _written(now if time is None else datetime.fromtimestamp(time, UTC))
            )
            for identifier, source, digest, time in zip(ids, *columns, strict=True)
        }
    except (AttributeError, KeyError, OSError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise DataError(f"{file}: where its examples come from can't be read. Export the memory again.") from error


def _written(time: datetime) -> str:
    return time.isoformat("T", "seconds")


def _metadata(data: bytes) -> dict[str, str]:
    """Read the metadata of a sound file."""
    metadata: dict[str, str] = read_header(data)["__metadata__"]
    return metadata


def _fingerprint(data: bytes) -> str | None:
    """Read the fingerprint of the model out of a sound file; None where it does not say."""
    try:
        named: dict[str, Any] = json.loads(_metadata(data)["binding"])
        return str(named["fingerprint"])
    except (KeyError, TypeError, ValueError):
        return None
