"""What a file tells of its examples comes from anyone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from service.errors import MemoryInvalid
from service.memories.exchange_origins import read_origins, write_origins
from service.memories.records import Lesson

LESSONS = [
    Lesson("a", "cat", b"", "0" * 64, "camera", "key", b"small", b"whole", 1_700_000_000.25),
    Lesson("b", "dog", b"", "", "", "", b"", None),
    Lesson("c", "dog", b""),
]
NO_IMAGES = memoryview(b"")
BARE = [Lesson(each.id, each.label, each.key) for each in LESSONS]


def written() -> tuple[dict[str, str], memoryview]:
    metadata: dict[str, str] = {}
    images = write_origins(metadata, LESSONS, "image")
    return metadata, memoryview(images)


def test_what_was_written_is_read() -> None:
    assert read_origins(*written(), BARE, None) == (LESSONS, "image")
    lessons, keep = read_origins(*written(), BARE, "thumbnail")
    assert (keep, [each.image for each in lessons], lessons[0].thumbnail) == ("thumbnail", [None] * 3, b"small")
    assert read_origins({}, NO_IMAGES, BARE, None) == (BARE, None)
    metadata, images = written()
    told = json.loads(metadata["origins"])
    del told["taught"]  # of a server that did not write it yet
    lessons, _ = read_origins({"origins": json.dumps(told)}, images, BARE, None)
    assert lessons == [replace(each, taught=None) for each in LESSONS]


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.pop("sizes"),
        lambda told: told.update(keep="all"),
        lambda told: told.update(sources=["camera", ""]),
        lambda told: told.update(teachers=["key", "", 3]),
        lambda told: told.update(sources="abc"),
        lambda told: told["sources"].__setitem__(0, "x" * 1000),
        lambda told: told["sources"].__setitem__(0, "¬cat"),
        lambda told: told["sha256"].__setitem__(0, "0" * 63 + "g"),
        lambda told: told["taught"].__setitem__(0, "yesterday"),
        lambda told: told["taught"].__setitem__(0, True),
        lambda told: told["taught"].__setitem__(0, -1),
        lambda told: told["taught"].__setitem__(0, 1e300),
        lambda told: told["taught"].__setitem__(0, float("nan")),
        lambda told: told["taught"].append(None),
        lambda told: told.update(taught=7),
        lambda told: told["sizes"].__setitem__(0, 6),
        lambda told: told["sizes"].__setitem__(0, -2),
        lambda told: told["sizes"].__setitem__(0, True),
        lambda told: told["sizes"].__setitem__(0, 10**30),
        lambda told: told["sizes"].append(-1),
    ],
)
def test_what_does_not_fit_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    metadata, images = written()
    told = json.loads(metadata["origins"])
    change(told)
    with pytest.raises(MemoryInvalid):
        read_origins({"origins": json.dumps(told)}, images, BARE, None)
    for text in ("", "[]", "[" * 100_000, "{}"):
        with pytest.raises(MemoryInvalid):
            read_origins({"origins": text}, images, BARE, None)
    with pytest.raises(MemoryInvalid):
        read_origins(written()[0], NO_IMAGES, BARE, None)
