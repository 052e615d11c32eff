"""Admit images to decoding by the memory that they will take, within what the container allows.

A 47-megapixel JPEG of 1 MB takes up to 700 MB while it is decoded: a few at a time end a small container, and with it
every request.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil

from ait_lite.images.errors import TooManyPixels
from service.errors import QueueFull

# Decoded, converted and turned, an image is held up to three times, in up to four channels and a progressive JPEG's
# coefficients.
BYTES_PER_PIXEL: Final = 15
# Of what is free when the server has started; the rest is for models, bodies and answers.
SHARE: Final = 0.7
# A photograph of a telephone fits in any case.
LEAST_BYTES: Final = 200_000_000
BODY_SHARE: Final = 0.25  # most of the memory that bodies of requests may take
RETRY_SECONDS: Final = 1.0


def memory_limit(root: Path = Path("/")) -> int:
    """Return the bytes that this process may use: the least limit of its control groups, or the machine's memory.

    Args:
        root: Where /proc and /sys lie.
    """
    limits: list[int] = [psutil.virtual_memory().total]
    for path in _control_groups(root):
        for name in ("memory.max", "memory.limit_in_bytes"):
            if (value := _number(path / name)) is not None:
                limits.append(value)
    return min(limits)


def memory_free(root: Path = Path("/")) -> int:
    """Return the bytes that are still free below the limit, by the machine and by every control group above us."""
    free: list[int] = [psutil.virtual_memory().available]
    for path in _control_groups(root):
        for most, now in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = _number(path / most), _number(path / now)
            if limit is not None and used is not None:
                free.append(limit - used + _reclaimable(path))
    return max(0, min(free))


def decoding_bytes(workers: int = 1, root: Path = Path("/")) -> int:
    """Return the bytes that one of several server processes may use for decoding, by what is free now."""
    return max(LEAST_BYTES, int(memory_free(root) * SHARE / workers))


class PixelBudget:
    """Bytes for images that are being decoded, all together. Safe to use from several threads.

    Attributes:
        total: The bytes; it may be changed at any time.
    """

    def __init__(self, total: int) -> None:
        """Set aside `total` bytes."""
        self.total = total
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def pixels(self) -> int:
        """Most pixels of one image that can ever be admitted."""
        return self.total // BYTES_PER_PIXEL

    @property
    def taken(self) -> int:
        """Bytes set aside for images that are being decoded."""
        return self._taken

    @contextmanager
    def room(self, pixels: int) -> Iterator[None]:
        """Set memory aside for an image while it is decoded.

        Args:
            pixels: Width times height.

        Raises:
            QueueFull: It does not fit beside those that are being decoded.
            TooManyPixels: It never fits.
        """
        wanted = pixels * BYTES_PER_PIXEL
        with self._lock:
            if wanted > self.total:
                raise TooManyPixels(
                    f"The image has {pixels:,} pixels, and decoding takes up to {wanted / 1e6:,.0f} MB of memory; "
                    f"this server has {self.total / 1e6:,.0f} MB for it. Make it smaller: {self.pixels:,} pixels fit."
                )
            if self._taken + wanted > self.total:
                raise QueueFull(RETRY_SECONDS)
            self._taken += wanted
        try:
            yield
        finally:
            with self._lock:
                self._taken -= wanted


def _control_groups(root: Path) -> Iterator[Path]:
    """Yield the control groups of this process, its own first, of version 2 and of version 1's memory hierarchy."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":
            mount = root / "sys/fs/cgroup"
        elif "memory" in controllers.split(","):
            mount = root / "sys/fs/cgroup/memory"
        else:
            continue
        # In a container the name may be that of the host, and the group itself is mounted at the top.
        group = mount / name.lstrip("/")
        while group != mount and mount in group.parents:
            yield group
            group = group.parent
        yield mount


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not there, or "max"
        return None


def _reclaimable(group: Path) -> int:
    """Bytes of the page cache that the kernel gives back before it ends a process."""
    try:
        fields = dict(line.split(" ", 1) for line in (group / "memory.stat").read_text().splitlines() if " " in line)
        return int(fields.get("inactive_file", fields.get("total_inactive_file", 0)))
    except (OSError, ValueError):
        return 0
