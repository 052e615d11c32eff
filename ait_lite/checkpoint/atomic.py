"""Write files and folders so that a kill or a power cut at any moment leaves something whole."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def sync(path: Path) -> None:
    """Have the operating system write a file or folder to the disk.

    Raises:
        OSError: It cannot be opened or written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary file name beside `path`; on leaving, what was written there replaces `path`.

    The file becomes readable for everyone, as files usually are. On an exception `path` stays as it was.

    Args:
        path: The file to replace; its folder must exist.

    Raises:
        OSError: The file cannot be written or renamed.
    """
    # The process number: two processes that write the same file must not write into the same temporary one.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.chmod(0o644)
        sync(temporary)
        temporary.replace(path)
        sync(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically, in UTF-8.

    Raises:
        OSError: The file cannot be written.
    """
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder beside `folder`; on leaving, it takes the place of `folder` with all that is in it.

    Missing parents are created. Files and folder become readable for everyone. On an exception `folder` stays
    as it was.

    Args:
        folder: Replaced as a whole if it exists.

    Raises:
        OSError: The folder cannot be written or renamed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        for path in temporary.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
            sync(path)
        sync(temporary)
        replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Put a finished folder in the place of another.

    No rename replaces a full folder, so there is a moment with neither; the old one then waits as
    ``.{name}-previous``, and `repair_folder` puts it back.

    Raises:
        OSError: One of them cannot be renamed.
    """
    previous = _previous(folder)
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        folder.rename(previous)
    new.rename(folder)
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def repair_folder(folder: Path) -> None:
    """Undo a replacement that a kill cut short, and remove what it left behind."""
    previous = _previous(folder)
    if previous.exists() and not folder.exists():
        previous.rename(folder)
    for leftover in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def _previous(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-previous")
