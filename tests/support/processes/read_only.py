"""A machine on which next to nothing can be written to, as Python sees it: without privileges, and as root too.

The folder of `read_only` on PYTHONPATH refuses, in every Python process, what a read-only file system refuses.
"""

from __future__ import annotations

from pathlib import Path

_CODE = """
import builtins, errno, io, os

WRITABLE = (os.environ.get("TEST_WRITABLE") or "/dev/null", "/dev/null", "/proc/")
real_open, real_mkdir, real_file = os.open, os.mkdir, io.open


def check(path):
    if not isinstance(path, int) and not os.fsdecode(path).startswith(WRITABLE):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)


def open_(path, flags, *arguments, **options):
    if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        check(path)
    return real_open(path, flags, *arguments, **options)


def mkdir(path, *arguments, **options):
    if not os.path.isdir(path):
        check(path)
    return real_mkdir(path, *arguments, **options)


def file(path, mode="r", *arguments, **options):
    if set(mode) & set("wax+"):
        check(path)
    return real_file(path, mode, *arguments, **options)


os.open, os.mkdir, io.open, builtins.open = open_, mkdir, file, file
"""


def read_only(folder: Path, writable: Path | None = None) -> dict[str, str]:
    """Return the environment of a program that can write nowhere.

    Args:
        folder: Gets the code that does this.
        writable: Where it can write all the same.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_CODE)
    return {
        "PYTHONPATH": str(folder),
        "HOME": "/nonexistent",
        "TMPDIR": "/nonexistent",
        "TEST_WRITABLE": str(writable or ""),
        "XDG_RUNTIME_DIR": str(writable or ""),
        "TORCHINDUCTOR_CACHE_DIR": "",
    }
