"""The file of a memory: the one that `ait_lite.class_memory` saves and loads, with the model's name in it.

The library passes over the name; here it tells a file that belongs to another model.
"""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np

from ait_lite.class_memory import ClassMemory, file
from service.errors import MemoryConflict, MemoryInvalid
from service.memories.answering.index import lessons_of
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


def write_file(content: ClassMemory, binding: Binding) -> bytes:
    """Write the file of a memory."""
    data = content.to_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"][_BINDING] = json.dumps({"model": binding.model, "fingerprint": binding.fingerprint})
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[8 + length :]


def read_file(data: bytes, binding: Binding, keep: Keep) -> tuple[Options, Binding, list[Lesson]]:
    """Read a file that may come from anyone, for a memory of a model.

    Args:
        data: The file.
        binding: To the model.
        keep: What the memory is to keep of images that it is taught later.

    Raises:
        MemoryInvalid: It is no such file, or holds what a memory here may not.
        MemoryConflict: It belongs to another model.
    """
    try:
        contents = file.decode(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
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
    configuration = contents.configuration
    options = Options(**{name: value for name, value in configuration.items() if name != "dim"}, keep=keep)
    options.check()
    for identifier, label in zip(contents.ids, contents.labels, strict=True):
        check_id(identifier)
        check_text(label.removeprefix(NOT), "A label", empty=False)
    try:
        content = ClassMemory.from_bytes(data)
    except ValueError as error:
        raise MemoryInvalid(str(error)) from error
    centre = None if content.centre is None else np.asarray(content.centre, "<f8").tobytes()
    return options, Binding(binding.model, binding.fingerprint, binding.dim, centre), lessons_of(content)
