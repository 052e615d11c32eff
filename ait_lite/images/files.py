"""Image files on disk, and folders as they really are: hidden entries, links that lead in circles, other files."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePath

from PIL import Image

from ait_lite.images.content import recognise
from ait_lite.images.decode import decode
from ait_lite.images.errors import UnsupportedFormat
from ait_lite.images.formats import readable_formats
from ait_lite.images.limits import ImageLimits
from ait_lite.names import to_name

# Of files that lie on disk: larger than what a service accepts, up to what takes half a gigabyte of memory.
FILE_LIMITS = ImageLimits(pixels=180_000_000)

_FORMATS = {
    "image/jpeg": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "image/png": (".png", ".apng"),
    "image/webp": (".webp",),
    "image/gif": (".gif",),
    "image/bmp": (".bmp", ".dib"),
    "image/tiff": (".tif", ".tiff"),
    "image/x-portable-anymap": (".ppm", ".pgm", ".pbm", ".pnm"),
    "image/avif": (".avif",),
    "image/jp2": (".jp2", ".j2k"),
}
# Endings of files that are read.
EXTENSIONS = frozenset(ending for kind in readable_formats() for ending in _FORMATS[kind])

_UNREADABLE = {
    ".heic": "HEIC photographs are not read: convert them to JPEG first, such as with "
    "`magick mogrify -format jpg *.heic`, or have the telephone save JPEG",
    ".avif": "AVIF images are not read by this Pillow: install 11.3 or later from PyPI, or convert them",
}
_UNREADABLE[".heif"] = _UNREADABLE[".heic"]

# What systems put beside a person's files; names that begin with a dot are hidden anyway.
_SYSTEM_ENTRIES = frozenset(
    {
        "@eadir",
        "__macosx",
        "#recycle",
        "$recycle.bin",
        "desktop.ini",
        "lost+found",
        "system volume information",
        "thumbs.db",
    }
)


@dataclass(frozen=True)
class Listing:
    """What lies below a folder.

    Attributes:
        images: Paths of files that end as images do, relative to the folder, with slashes, sorted by their parts.
        others: How many other files there are, by ending.
        again: Linked folders that were not entered, for what they lead to is read already or holds the folder.
    """

    images: tuple[str, ...]
    others: Counter[str]
    again: tuple[str, ...]


def read_image(path: Path) -> Image.Image:
    """Decode an image file as a person would see it, of every format that this installation reads.

    Returns:
        An image in mode RGB, as `ait_lite.images.decode.decode` makes it.

    Raises:
        OSError: The file is missing or cannot be read.
        ImageError: It is no image, is damaged, or has more pixels than `FILE_LIMITS`.
    """
    return decode_file(path.read_bytes())


def decode_file(data: bytes) -> Image.Image:
    """Decode the content of an image file, as `read_image` does.

    Raises:
        ImageError: As `read_image`.
    """
    try:
        return decode(data, FILE_LIMITS, readable_formats())
    except UnsupportedFormat:
        # Telephones and chats save them under the names of other formats.
        remedy = _UNREADABLE.get(f".{recognise(data)}")
        if remedy is None:
            raise
        raise UnsupportedFormat(f"{remedy}.") from None


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is none of a person's data, by its name."""
    return name.startswith(".") or name.casefold() in _SYSTEM_ENTRIES


def is_image(name: str) -> bool:
    """Tell whether a file is read as an image, by its ending."""
    return PurePath(name).suffix.lower() in EXTENSIONS


def visible_folders(root: Path) -> list[str]:
    """List the names of the folders in a folder, without hidden ones; links are followed.

    Raises:
        OSError: The folder cannot be listed.
    """
    return [entry.name for entry in _entries(root) if entry.is_dir()]


def holds_images(folder: Path) -> bool:
    """Tell whether images lie directly in a folder.

    Raises:
        OSError: The folder cannot be listed.
    """
    return any(is_image(entry.name) and entry.is_file() for entry in _entries(folder))


def list_images(folder: Path) -> Listing:
    """List the images below a folder at any depth, through links, each folder once.

    Only regular files are images: nothing else is ever opened.

    Raises:
        OSError: A folder cannot be listed.
    """
    # A link to a folder above would bring in other classes, or the whole disk.
    entered = {_identity(above) for above in folder.resolve().parents}
    images: list[str] = []
    others: Counter[str] = Counter()
    again: list[str] = []
    pending: list[str] = [""]
    linked: list[str] = []
    while pending or linked:
        # Folders before links, so that a file's name does not lead through a link without need.
        inner = pending.pop() if pending else linked.pop(0)
        identity = _identity(folder / inner)
        if identity in entered:
            again.append(inner)
            continue
        entered.add(identity)
        for entry in _entries(folder / inner):
            path = f"{inner}/{entry.name}" if inner else entry.name
            if entry.is_dir():
                (linked if entry.is_symlink() else pending).append(path)
            elif entry.is_file() and is_image(entry.name):
                images.append(path)
            else:
                others[PurePath(entry.name).suffix.lower() if entry.is_file() else "no file"] += 1
    return Listing(tuple(sorted(images, key=lambda path: path.split("/"))), others, tuple(sorted(again)))


def describe_others(root: Path, others: Counter[str], again: list[str]) -> tuple[str, ...]:
    """Say in a line each what below a folder is not read."""
    lines = []
    if others:
        kinds = ", ".join(
            f"{count} {to_name(ending) or 'without an ending'}" for ending, count in others.most_common(8)
        )
        lines.append(
            f"{root}: {others.total()} files are not read as images ({kinds}); "
            f"those that end in {', '.join(sorted(EXTENSIONS))} are"
        )
        lines += [
            f"{root}: {others[ending]} {ending}: {remedy}"
            for ending, remedy in _UNREADABLE.items()
            if ending not in EXTENSIONS and others[ending]
        ]
    if again:
        named = ", ".join(map(to_name, again[:3])) + (", …" if len(again) > 3 else "")
        lines.append(f"{root}: {len(again)} linked folders lead to what is read already, and are left out: {named}")
    return tuple(lines)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted((entry for entry in entries if not is_hidden(entry.name)), key=lambda entry: entry.name)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
