"""Find the images in what a client sends: files, and files packed in ZIP archives.

Nothing is ever unpacked onto a disk, so a name in an archive can point nowhere: it only says which label is meant.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from service.errors import MemoryInvalid, SentTooMuch
from service.images.upload import Upload

_SUFFIXES: Final = (".jpg", ".jpeg", ".jfif", ".png", ".webp")
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
        upload: The file.
        error: What is wrong with it; None if nothing is.
    """

    name: str
    label: str
    upload: Upload
    error: MemoryInvalid | None = None


def unpack(uploads: Sequence[Upload], limits: Limits) -> list[Item]:
    """List the images of a request in its order; takes a while, call it on a thread.

    Args:
        uploads: Files; those that are ZIP archives are looked into, once.
        limits: Of all of them together, counted after decompression.

    Raises:
        MemoryInvalid: An archive is damaged, encrypted, or packed in another way than stored or deflated.
        SentTooMuch: There are too many images, or too many bytes of them.
    """
    items: list[Item] = []
    total = 0
    for upload in uploads:
        found = (
            _entries(upload, limits) if upload.data.startswith(_ARCHIVE) else [_item(upload.filename or "", upload)]
        )
        for item in found:
            items.append(item)
            total += len(item.upload.data)
        if len(items) > limits.files:
            raise _too_many(limits)
        if total > limits.bytes:
            raise SentTooMuch(f"The images have more than {limits.bytes:,} bytes together. Send them in parts.")
    return items


def _entries(upload: Upload, limits: Limits) -> list[Item]:
    try:
        with zipfile.ZipFile(io.BytesIO(upload.data)) as archive:
            entries = archive.infolist()
            chosen = [entry for entry in entries if _is_image(entry)]
            if len(entries) > _MOST_ENTRIES * limits.files or len(chosen) > limits.files:
                raise _too_many(limits)
            items, left = [], limits.bytes
            for entry in chosen:
                item = _read(archive, entry, limits.file_bytes, left)
                left -= len(item.upload.data)
                items.append(item)
            return items
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError) as error:
        raise MemoryInvalid(f"The archive cannot be read: {error}. Pack it again, as a plain ZIP file.") from error


def _read(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, most: int, left: int) -> Item:
    """Read an entry up to a limit, whatever size it claims; `left` is what all that follow may have together."""
    if entry.flag_bits & 1 or entry.compress_type not in _METHODS:
        raise MemoryInvalid("The archive is encrypted or packed in an unusual way. Pack it as a plain ZIP file.")
    data = bytearray()
    with archive.open(entry) as file:
        while chunk := file.read(_CHUNK):
            data += chunk
            if len(data) > left:
                raise SentTooMuch("The archive unpacks to more bytes than a request may have. Send it in parts.")
            if len(data) > most:
                error = MemoryInvalid(f"It has more than {most:,} bytes unpacked.")
                return Item(entry.filename, "", Upload(b"", entry.filename), error)
    return _item(entry.filename, Upload(data, entry.filename))


def _too_many(limits: Limits) -> SentTooMuch:
    return SentTooMuch(f"A request may have {limits.files:,} images. Send the others in another one.")


def _is_image(entry: zipfile.ZipInfo) -> bool:
    """Leave out folders, hidden files, what macOS adds, and what is no image by its name."""
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    hidden = any(part.startswith((".", "__MACOSX")) and part not in (".", "..") for part in path.parts)
    return not entry.is_dir() and not hidden and path.suffix.lower() in _SUFFIXES


def _item(name: str, upload: Upload) -> Item:
    folders = [part for part in PurePosixPath(name.replace("\\", "/")).parts[:-1] if part not in ("/", ".", "..")]
    return Item(name, folders[-1] if folders else "", upload)
