"""What the file of a memory holds of its examples beside keys and labels: where and when they come from, and images.

It stands in the file's description and in a tensor of its own, both of which `ait_lite.class_memory` passes over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain, pairwise
from typing import Any, Final

from ait_lite.class_memory.file import body_of, write_header
from service.errors import MemoryInvalid
from service.memories.records import Keep, Lesson, check_text

_ORIGINS: Final = "origins"
_IMAGES: Final = "images"
_SHA256: Final = re.compile(r"[0-9a-f]{64}|")
_NOT_KEPT: Final = -1
_END_OF_TIME: Final = 253_402_300_800  # the year 10,000, which no date can be written of

Metadata = dict[str, str]


def write_origins(metadata: Metadata, lessons: Sequence[Lesson], keep: Keep) -> bytes:
    """Describe examples in a file's metadata; return the content of the tensor of their images.

    Args:
        metadata: Is added to.
        lessons: All examples by sorted id, as the file has them.
        keep: What the memory keeps of images.
    """
    kept = [part for each in lessons for part in (each.thumbnail, each.image)]
    described = {
        "keep": keep,
        "sources": [each.source for each in lessons],
        "teachers": [each.teacher for each in lessons],
        "sha256": [each.sha256 for each in lessons],
        "taught": [each.taught for each in lessons],
        # Bytes of each thumbnail and each file after another.
        "sizes": [_NOT_KEPT if part is None else len(part) for part in kept],
    }
    metadata[_ORIGINS] = json.dumps(described)
    return b"".join(part or b"" for part in kept)


def read_origins(
    metadata: Metadata, images: memoryview, lessons: Sequence[Lesson], keep: Keep | None
) -> tuple[list[Lesson], Keep | None]:
    """Add to examples what a file, which may come from anyone, tells of them beside keys and labels.

    Args:
        metadata: Of the file.
        images: The content of the tensor of images; empty where there is none.
        lessons: All examples by sorted id.
        keep: What may be kept of images; None: what the file's memory kept.

    Returns:
        The examples, and what is kept; None where neither is told.

    Raises:
        MemoryInvalid: It does not fit the examples.
    """
    if _ORIGINS not in metadata:
        return list(lessons), keep
    try:
        told: dict[str, Any] = json.loads(metadata[_ORIGINS])
        columns = [told[name] for name in ("sources", "teachers", "sha256")]
        sizes, own = told["sizes"], told["keep"]
        times = told.get("taught", [None] * len(lessons))  # former servers did not write it
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise MemoryInvalid("Where the examples of the memory file come from can't be read.") from error
    fits = (
        own in (None, "nothing", "thumbnail", "image")  # None: of a folder, which keeps no images
        and all(isinstance(column, list) and len(column) == len(lessons) for column in columns)
        and all(isinstance(text, str) for text in chain(*columns))
        and all(_SHA256.fullmatch(digest) for digest in columns[2])
        and isinstance(times, list)
        and len(times) == len(lessons)
        and all(time is None or (type(time) in (int, float) and 0 <= time < _END_OF_TIME) for time in times)
        and isinstance(sizes, list)
        and len(sizes) == 2 * len(lessons)
        and all(type(size) is int and _NOT_KEPT <= size <= len(images) for size in sizes)
        and sum(max(size, 0) for size in sizes) == len(images)
    )
    if not fits:
        raise MemoryInvalid("Where the examples of the memory file come from does not fit them.")
    keep = keep or own
    ends = pairwise(accumulate((max(size, 0) for size in sizes), initial=0))
    kept = [None if size < 0 else bytes(images[start:end]) for size, (start, end) in zip(sizes, ends, strict=True)]
    return [
        replace(
            lesson,
            source=check_text(source, "A source"),
            teacher=check_text(teacher, "The name of a key"),
            sha256=digest,
            thumbnail=None if keep == "nothing" else thumbnail,
            image=image if keep == "image" else None,
            taught=taught,
        )
        for lesson, source, teacher, digest, taught, thumbnail, image in zip(
            lessons, *columns, times, kept[::2], kept[1::2], strict=True
        )
    ], keep


def images_of(data: bytes, header: dict[str, Any]) -> memoryview:
    """Look up the content of the tensor of images in a sound safetensors file; empty where there is none.

    Args:
        data: The file.
        header: Its header.
    """
    start, end = header.get(_IMAGES, {}).get("data_offsets", (0, 0))
    return body_of(data)[start:end]


def add_images(data: bytes, header: dict[str, Any], images: bytes) -> bytes:
    """Write a safetensors file anew, with another header and a tensor of images behind the others.

    Args:
        data: The file.
        header: Its header, changed as it is to be; the tensor is added to it.
        images: The tensor's content; empty: none is added.
    """
    if images:
        end = len(body_of(data))
        header[_IMAGES] = {"dtype": "U8", "shape": [len(images)], "data_offsets": [end, end + len(images)]}
    return write_header(data, header, images)
