"""Where an export is written: beside its place, and moved there only once it has been accepted."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ait.export.agreement import ExportError
from ait_lite.checkpoint import atomic_folder, sync


@contextmanager
def new_file(path: Path) -> Iterator[Path]:
    """Yield a file to write, of the same name in a folder of its own; on leaving it replaces `path`.

    The name stays, because exporters write it into the file, and some write more files beside it.

    Raises:
        ExportError: `path` is a folder.
        OSError: The file cannot be written.
    """
    if path.is_dir():
        raise ExportError(f"{path} is a folder; give the name of a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        candidate = temporary / path.name
        yield candidate
        candidate.chmod(0o644)
        sync(candidate)
        candidate.replace(path)
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; on leaving it takes the place of `folder`.

    Raises:
        ExportError: `folder` is a file, or holds files.
        OSError: The folder cannot be written.
    """
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ExportError(f"{folder} is not an empty folder; remove it or choose another.")
    with atomic_folder(folder) as candidate:
        yield candidate
