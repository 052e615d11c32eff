"""Write memories in folders as files, which `training.teaching.importing`, a server and `ClassMemory.load` read."""

import csv
import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

from ait_lite.checkpoint import atomic_file
from ait_lite.class_memory import MemoryFolder, Source, open_memory
from ait_lite.class_memory.file import read_header, write_header
from training.errors import DataError

_UNKNOWN: Final = Source("", "", "")
_LONGEST_SOURCE: Final = 100


def export(path: Path, output: Path) -> None:
    """Write a memory as one file, without its model.

    Args:
        path: The memory folder.
        output: A ``.safetensors`` file of all that the folder holds, or a ``.csv`` list of the examples.

    Raises:
        MemoryFolderError: The folder is no memory, or is damaged.
        DataError: The ending is another one.
        OSError: The file cannot be written.
    """
    folder = open_memory(path)
    if output.suffix == ".safetensors":
        with atomic_file(output) as temporary:
            temporary.write_bytes(_written(folder))
    elif output.suffix == ".csv":
        with atomic_file(output) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["id", "label", "path", "sha256", "time"])
            for identifier in folder.memory.ids():
                source = folder.sources.get(identifier, _UNKNOWN)
                rows.writerow([identifier, folder.memory.label_of(identifier), *asdict(source).values()])
    else:
        raise DataError(f"{output}: give a file that ends in .safetensors (the memory) or .csv (its examples).")


def _written(folder: MemoryFolder) -> bytes:
    """Write the memory's own file, with what servers say of the model and the examples in theirs."""
    data = folder.memory.to_bytes()
    header = read_header(data)
    sources = [folder.sources.get(identifier, _UNKNOWN) for identifier in folder.memory.ids()]
    origins = {
        "keep": None,  # a folder keeps no images, and whoever imports it may
        "sources": [_short(each.path) for each in sources],
        "paths": [each.path for each in sources],  # which servers pass over
        "teachers": [""] * len(sources),
        "sha256": [each.sha256 for each in sources],
        "taught": [datetime.fromisoformat(each.time).timestamp() if each.time else None for each in sources],
        "sizes": [-1] * (2 * len(sources)),
    }
    binding = {"model": Path(folder.model).name, "fingerprint": folder.fingerprint}
    header["__metadata__"] |= {"binding": json.dumps(binding), "origins": json.dumps(origins)}
    return write_header(data, header)


def _short(path: str) -> str:
    """Shorten a path to what a server takes as a source: its end is what tells images apart."""
    readable = "".join(each if each.isprintable() else "?" for each in path)
    return readable if len(readable) <= _LONGEST_SOURCE else f"…{readable[1 - _LONGEST_SOURCE :]}"
