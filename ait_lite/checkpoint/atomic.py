"""Writing to disk so that a power cut loses nothing."""

import os
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
