"""Find out what the machine lets this process use, and tune how it is used."""

from __future__ import annotations

import ctypes
import gc
import math
import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # numbers of parameters of mallopt(3), from <malloc.h>
_LARGE_BLOCK, _MOST_KEPT = 4 * 2**20, 16 * 2**20  # bytes
_CGROUP = Path("/sys/fs/cgroup")
# Objects in use by which their number grows before the garbage collector looks at the new ones; Python's own is 700.
_YOUNG_OBJECTS: Final = 20_000


def available_processors(cgroup: Path = _CGROUP) -> int:
    """Count the processors that this process may keep busy: by its affinity and by the quota of its container.

    More threads than that would only take turns, or be stopped for most of every tenth of a second.
    """
    affinity = getattr(os, "sched_getaffinity", None)
    processors = len(affinity(0)) if affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(processors, _quota(cgroup))))


def has_temporary_folder() -> bool:
    """Find out whether there is a place for temporary files: in a container with `--read-only` there may be none."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        return False
    return True


def freeze_garbage_collector() -> None:
    """Have the garbage collector leave alone for good what is there now.

    It would go through all of a loaded program again and again, and stop every request for a third of a second. What
    requests make is counted away as soon as they are answered: to look for cycles among them is seldom worth it.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)


def return_freed_memory() -> bool:
    """Have glibc return every large block as soon as it is freed, and keep what the small ones leave.

    By itself it would raise the limit between the two when a large block is freed. The next large images would go into
    the heap, where whatever small thing lies above them keeps their memory in the process. With the limit fixed, it
    would return whatever is free at the heap's end from 128 KiB on, and every question to a memory, which takes a few
    mebibytes for a moment, would have the kernel zero them again: 51 page faults each, a twentieth of its time.

    Returns:
        False where the C library is not glibc, and nothing is changed.
    """
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  (only glibc has it)
        settings = ((_M_MMAP_THRESHOLD, _LARGE_BLOCK), (_M_TRIM_THRESHOLD, _MOST_KEPT))
        return all([library.mallopt(name, value) == 1 for name, value in settings])
    except (AttributeError, OSError, TypeError):
        return False


def _quota(cgroup: Path) -> float:
    """Read how many processors the container may use; infinite without a limit."""
    with suppress(OSError, ValueError):
        limit, period = (cgroup / "cpu.max").read_text().split()
        return math.inf if limit == "max" else int(limit) / int(period)
    with suppress(OSError, ValueError):  # version 1 of control groups
        quota = int((cgroup / "cpu" / "cpu.cfs_quota_us").read_text())
        every = int((cgroup / "cpu" / "cpu.cfs_period_us").read_text())
        return quota / every if quota > 0 else math.inf
    return math.inf
