"""A memory of classes on disk, bound to the model whose features it holds.

A memory folder holds ``memory.safetensors``, as `ClassMemory.to_bytes` writes it, and ``memory.json``: the model, its
fingerprint, and of each example where its image came from.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from ait_lite.checkpoint import atomic_folder, repair_folder
from ait_lite.class_memory.memory import ClassMemory

FORMAT: Final = "class-memory-folder-1"
EXAMPLES: Final = "memory.safetensors"
DESCRIPTION: Final = "memory.json"


class MemoryFolderError(ValueError):
    """A memory folder that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Source:
    """Where an example came from.

    Attributes:
        path: The image file when it was taught.
        sha256: Of the file's bytes, in hexadecimal.
        time: When it was taught, ISO 8601 in UTC.
    """

    path: str
    sha256: str
    time: str


@dataclass
class MemoryFolder:
    """A memory with what it is bound to.

    Attributes:
        path: The folder.
        memory: The examples.
        model: The checkpoint folder, or name of a bundled model, whose features the keys are.
        fingerprint: That of the model (`ait_lite.checkpoint.fingerprint`).
        sources: Where examples came from, by identifier.
    """

    path: Path
    memory: ClassMemory
    model: str
    fingerprint: str
    sources: dict[str, Source] = field(default_factory=dict)

    def require(self, fingerprint: str, model: str) -> None:
        """Refuse a model other than the memory's own.

        Raises:
            MemoryFolderError: The fingerprint is another one.
        """
        if fingerprint != self.fingerprint:
            raise MemoryFolderError(
                f"memory {self.path} was taught with {self.model} (fingerprint {self.fingerprint[:12]}), and {model} "
                f"is another model (fingerprint {fingerprint[:12]}): its features mean other things. Use the first "
                "model, or teach a new memory from the images."
            )

    def save(self) -> None:
        """Write the folder, whole or not at all.

        Raises:
            OSError: It cannot be written.
        """
        description = {
            "format": FORMAT,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "digest": self.memory.digest(),
            "examples": len(self.memory),
            "labels": self.memory.counts,
            "sources": {identifier: asdict(self.sources[identifier]) for identifier in sorted(self.sources)},
        }
        with atomic_folder(self.path) as temporary:
            (temporary / EXAMPLES).write_bytes(self.memory.to_bytes())
            (temporary / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def open_memory(path: Path) -> MemoryFolder:
    """Read a memory folder.

    Raises:
        MemoryFolderError: There is none, or it is damaged.
    """
    if not path.exists() and path.with_name(f".{path.name}-previous").is_dir():
        with locked(path):  # a replacement that a kill cut short is undone
            pass
    if not (path / DESCRIPTION).is_file():
        raise MemoryFolderError(
            f"{path} is not a memory: it has no {DESCRIPTION}. Make one with `ait memory create {path}`."
        )
    try:
        description: dict[str, Any] = json.loads((path / DESCRIPTION).read_text(encoding="utf-8"))
        if description["format"] != FORMAT:
            raise ValueError(f"its format is {description['format']!r}, not {FORMAT!r}")
        memory = ClassMemory.load(path / EXAMPLES)
        if memory.digest() != description["digest"]:
            raise ValueError(f"{EXAMPLES} does not hold the examples that {DESCRIPTION} describes")
        sources = {str(key): Source(**value) for key, value in description["sources"].items()}
        return MemoryFolder(path, memory, str(description["model"]), str(description["fingerprint"]), sources)
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        raise MemoryFolderError(f"memory {path} is damaged: {error}. Restore it, or teach it again.") from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes from changing a memory folder meanwhile.

    The lock is a file beside the folder, because the folder itself is replaced. The operating system gives the lock
    up when the process ends. A replacement that a kill cut short is undone first.

    Raises:
        MemoryFolderError: Another process is changing it.
        OSError: The lock cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}.lock")
    descriptor = _acquire(lock, path)
    try:
        repair_folder(path)
        yield
    finally:
        lock.unlink(missing_ok=True)  # while it is held, so that the file of a later holder is never removed
        os.close(descriptor)


def _acquire(lock: Path, path: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The holder before may have removed the file between its opening here and its locking.
            if lock.exists() and os.path.samestat(os.fstat(descriptor), lock.stat()):
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise MemoryFolderError(
                f"memory {path} is being changed by another process: wait until it is done."
            ) from None
        os.close(descriptor)
