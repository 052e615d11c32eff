"""Make the folder that the processes of a server share, and remove those of servers that are dead.

Every process of a server keeps a shared lock on its folder, which the kernel lets go of when the process ends, however
it ends. A folder on which nobody has one is nobody's. (systemd-tmpfiles heeds such locks too.)
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

logger = logging.getLogger(__name__)

PREFIX: Final = "ait-server-"
_UNFINISHED: Final = ".ait-server-"  # has no lock yet
_LONGEST: Final = 70  # bytes of the path above: that of a Unix socket has 107 at most
_MEMORY: Final = "/dev/shm"  # containers have it where the rest cannot be written to


class NoFolder(Exception):
    """No folder can be written to; the message says what helps."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """Make a folder for one server, with a folder `metrics` in it; it is removed on leaving.

    Raises:
        NoFolder: There is no place for it.
    """
    places = _places()
    for place in places:
        try:
            folder, lock = _make(place)
        except OSError:
            continue
        try:
            remove_abandoned(place)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
        return
    raise NoFolder(
        f"Several server processes share a folder, and none can be made in {', '.join(map(str, places))}. Name one "
        "that can be written to with TMPDIR, mount one (docker run --tmpfs /tmp), or run one process."
    )


def hold(folder: Path) -> int:
    """Keep a folder from being removed for as long as the descriptor that is returned is open.

    Raises:
        OSError: It is not there.
    """
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    with suppress(OSError):  # of file systems without locks, where nothing is removed either
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    return lock


def remove_abandoned(place: Path) -> None:
    """Remove the folders of servers of this user of which no process is left."""
    for folder in place.glob(f"{PREFIX}*"):
        with suppress(OSError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if os.fstat(lock).st_uid == os.geteuid():
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while anybody holds it
                    logger.info("%s is of a server that is dead, and is removed", folder)
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _places() -> list[Path]:
    """List where the folder may be, the best place first."""
    places = []
    with suppress(OSError):  # nothing that it tries can be written to
        places.append(tempfile.gettempdir())
    places += filter(None, [os.environ.get("TMPDIR"), "/tmp", os.environ.get("XDG_RUNTIME_DIR"), _MEMORY])
    return [Path(place) for place in dict.fromkeys(places) if len(os.fsencode(place)) <= _LONGEST]


def _make(place: Path) -> tuple[Path, int]:
    """Make a folder that has its lock before it has its name."""
    unfinished = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=place))
    lock = hold(unfinished)
    try:
        (unfinished / "metrics").mkdir()
        folder = unfinished.with_name(PREFIX + unfinished.name.removeprefix(_UNFINISHED))
        return unfinished.rename(folder), lock
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        os.close(lock)
        raise
