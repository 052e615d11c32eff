"""Find the images in what a client sends: files, and files packed in ZIP archives.

Nothing is ever unpacked under a name, so one in an archive can point nowhere: it only says which label is meant. An
image is unpacked when it is read, so that of an archive no more than what is looked at is in memory.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from service.errors import MemoryInvalid, SentTooMuch
from service.images.spool import SpooledFile

_SUFFIXES: Final = (".jpg", ".jpeg", ".jfif", ".png", ".webp")
# Why a file of an archive is passed over; it is told, never raised.
_NO_IMAGE: Final = MemoryInvalid(f"It is no image by its name: that of one ends in {', '.join(_SUFFIXES)}.")
_ADDED: Final = ("thumbs.db", "desktop.ini")
_MOST_ENTRIES: Final = 10  # entries of an archive for each image that may be in it: folders, notes, hidden files
_ARCHIVE: Final = (b"PK\x03\x04", b"PK\x05\x06")
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_CHUNK: Final = 65_536


@dataclass(frozen=True)
class Limits:
    """Most images of a request, most bytes of them together, and most of each."""

    files: int
    bytes: int
    file_bytes: int


@dataclass(frozen=True)
class Item:
    """An image of a request, or why it is none.

    Attributes:
        name: As the client calls it.
        label: The folder that it is in; empty if it is in none.
        read: Reads the file; it takes a while.
        error: What is wrong with it; None if nothing is.
    """

    name: str
    label: str
    read: Callable[[], bytes]
    error: MemoryInvalid | None = None


def unpack(files: Sequence[SpooledFile], limits: Limits) -> list[Item]:
    """List the images of a request in its order, after each has been unpacked once, to see that it can be.

    It takes a while, call it on a thread.

    Args:
        files: Those that are ZIP archives are looked into, once.
        limits: Of all of them together, counted after decompression.

    Raises:
        MemoryInvalid: An archive is damaged, encrypted, or packed in another way than stored or deflated.
        SentTooMuch: There are too many images, or too many bytes of them.
    """
    items: list[Item] = []
    total = 0
    for file in files:
        if file.startswith(_ARCHIVE):
            found, size = _entries(file, limits)
        else:
            found, size = [_item(file.filename or "", file.read)], file.length
        items += found
        total += size
        images = sum(item.error is not _NO_IMAGE for item in items)
        if images > limits.files or len(items) > _MOST_ENTRIES * limits.files:
            raise _too_many(limits)
        if total > limits.bytes:
            raise SentTooMuch(f"The images have more than {limits.bytes:,} bytes together. Send them in parts.")
    return items


def _entries(file: SpooledFile, limits: Limits) -> tuple[list[Item], int]:
    """List the images of an archive; also return how many bytes they have unpacked."""
    try:
        archive = zipfile.ZipFile(file.open())
        entries = archive.infolist()
        visible = [entry for entry in entries if _is_visible(entry)]
        if len(entries) > _MOST_ENTRIES * limits.files or sum(map(_is_image, visible)) > limits.files:
            raise _too_many(limits)
        items, total = [], 0
        for entry in visible:
            if not _is_image(entry):
                items.append(Item(entry.filename, "", partial(_read, archive, entry), _NO_IMAGE))
                continue
            size = _unpacked_size(archive, entry, limits.file_bytes, limits.bytes - total)
            item = _item(entry.filename, partial(_read, archive, entry))
            if size > limits.file_bytes:
                error = MemoryInvalid(f"It has more than {limits.file_bytes:,} bytes unpacked.")
                item, size = Item(entry.filename, "", item.read, error), 0
            items.append(item)
            total += size
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise MemoryInvalid(f"The archive cannot be read: {error}. Pack it again, as a plain ZIP file.") from error
    return items, total


def _unpacked_size(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int, left: int) -> int:
    """Count the bytes of an entry, whatever size it claims, until they are more than `most`.

    Raises:
        SentTooMuch: There are more than `left`, which is what all that follow may have together.
    """
    if entry.flag_bits & 1 or entry.compress_type not in _METHODS:
        raise MemoryInvalid("The archive is encrypted or packed in an unusual way. Pack it as a plain ZIP file.")
    size = 0
    for chunk in _chunks(archive, entry):
        size += len(chunk)
        if size > left:
            raise SentTooMuch("The archive unpacks to more bytes than a request may have. Send it in parts.")
        if size > most:
            break
    return size


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    return b"".join(_chunks(archive, entry))


def _chunks(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _too_many(limits: Limits) -> SentTooMuch:
    return SentTooMuch(f"A request may have {limits.files:,} images. Send the others in another one.")


def _is_visible(entry: zipfile.ZipInfo) -> bool:
    """Leave out folders, hidden files, and what macOS and Windows add."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    hidden = any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in path.parts)
    folder = entry.filename.endswith("/")  # `is_dir` fails where there is no name
    return not folder and not hidden and path.name.lower() not in _ADDED


def _is_image(entry: zipfile.ZipInfo) -> bool:
    return PurePosixPath(entry.filename.replace("\\", "/")).suffix.lower() in _SUFFIXES


def _item(name: str, read: Callable[[], bytes]) -> Item:
    folders = [part for part in PurePosixPath(name.replace("\\", "/")).parts[:-1] if part not in ("/", ".", "..")]
    return Item(name, folders[-1] if folders else "", read)
