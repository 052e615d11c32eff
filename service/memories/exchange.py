"""The file of a memory: the one that `ait_lite.class_memory` saves and loads, with more in it that this passes over.

The model's name tells a file that belongs to another one; for the examples see `service.memories.exchange_origins`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from ait_lite.class_memory import ClassMemory, file
from service.errors import MemoryConflict, MemoryInvalid
from service.memories.answering.index import lessons_of
from service.memories.exchange_origins import add_images, images_of, read_origins, write_origins
from service.memories.records import (
    NOT,
    Binding,
    Keep,
    Lesson,
    Options,
    check_id,
    check_text,
)

_BINDING: Final = "binding"


def write_file(content: ClassMemory, binding: Binding, stored: Mapping[str, Lesson], keep: Keep) -> bytes:
    """Write the file of a memory.

    Args:
        content: Its examples.
        binding: To its model.
        stored: What the store has of them, by id; of one that has changed meanwhile nothing more is written.
        keep: What the memory keeps of images.
    """
    data = content.to_bytes()
    header = file.read_header(data)
    metadata = header["__metadata__"]
    metadata[_BINDING] = json.dumps({"model": binding.model, "fingerprint": binding.fingerprint})
    examples = []
    for bare in lessons_of(content):
        known = stored.get(bare.id, bare)
        examples.append(known if (known.key, known.label) == (bare.key, bare.label) else bare)
    return add_images(data, header, write_origins(metadata, examples, keep))


def read_file(data: bytes, binding: Binding, keep: Keep | None) -> tuple[Options, Binding, list[Lesson]]:
    """Read a file that may come from anyone, for a memory of a model.

    Args:
        data: The file.
        binding: To the model.
        keep: What the memory is to keep of images; None: what the file's memory kept, or thumbnails.

    Raises:
        MemoryInvalid: It is no such file, or holds what a memory here may not.
        MemoryConflict: It belongs to another model.
    """
    try:
        contents = file.decode(data)
        header = file.read_header(data)
        named: dict[str, Any] = json.loads(header["__metadata__"].get(_BINDING, "{}"))
        fingerprint, model = named.get("fingerprint", binding.fingerprint), named.get("model", "")
    except (ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise MemoryInvalid(f"{error}. Send what GET …/file gave, or what ClassMemory.save wrote.") from error
    if fingerprint != binding.fingerprint or contents.keys.shape[1] != binding.dim:
        other = f"model {model[:100]}" if isinstance(model, str) and model else "another model"
        raise MemoryConflict(
            f"The file was made with {other}, not with {binding.model}. Name that one as the memory's model, if it is "
            "served here."
        )
    configuration = {name: value for name, value in contents.configuration.items() if name != "dim"}
    Options(**configuration).check()  # before anything is computed with them: that may take long, and gigabytes
    for identifier, label in zip(contents.ids, contents.labels, strict=True):
        check_id(identifier)
        check_text(label.removeprefix(NOT), "A label", empty=False)
    try:
        content = ClassMemory.from_bytes(data)
    except ValueError as error:
        raise MemoryInvalid(str(error)) from error
    centre = None if content.centre is None else np.asarray(content.centre, "<f8").tobytes()
    lessons, keep = read_origins(header["__metadata__"], images_of(data, header), lessons_of(content), keep)
    return (
        Options(**configuration, keep=keep or "thumbnail"),
        Binding(binding.model, binding.fingerprint, binding.dim, centre),
        lessons,
    )
