"""Folders for what can be made again: the user's cache, or among temporary files where that cannot be written."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

MEMORY: Final = Path("/dev/shm")  # containers have it where the rest cannot be written to


def cache_folders(kind: str, *, memory: bool = False) -> list[Path]:
    """List where things of a kind may lie, the preferred place first; nothing is created.

    Args:
        kind: Name of the folder, such as ``images``.
        memory: Whether the last place may be in memory, which what lies there takes.
    """
    return [*_of_user(kind), *_temporary(kind), *(_private(MEMORY, kind) if memory and MEMORY.is_dir() else [])]


def writable_cache(kind: str) -> Path:
    """Create the first of `cache_folders` that files can be made in.

    Raises:
        OSError: There is none.
    """
    for folder in cache_folders(kind):
        with suppress(OSError):
            check_writable(folder)
            return folder
    raise OSError("neither the user's cache folder nor the folder for temporary files can be written to")


def check_writable(folder: Path) -> None:
    """Create a folder if there is none, and check that files can be made in it.

    Raises:
        OSError: They cannot.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def _of_user(kind: str) -> list[Path]:
    if not os.environ.get("XDG_CACHE_HOME"):
        try:
            Path.home()
        except RuntimeError:  # of a user number without a name, where containers run
            return []
    return [user_cache_path("ait") / kind]


def _temporary(kind: str) -> list[Path]:
    try:
        return _private(Path(tempfile.gettempdir()), kind)
    except OSError:  # nothing can be written anywhere
        return []


def _private(place: Path, kind: str) -> list[Path]:
    folder = place / f"ait-{kind}-{os.getuid()}"
    # A folder that is not ours might hold what another has put there for us to read.
    return [folder] if not folder.exists() or folder.stat().st_uid == os.getuid() else []
