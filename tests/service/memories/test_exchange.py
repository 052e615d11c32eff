"""The file of a memory may come from anyone."""

from __future__ import annotations

import json

import numpy as np
import pytest

from ait_lite.class_memory import ClassMemory
from ait_lite.class_memory.file import read_header, write_header
from service.errors import MemoryInvalid
from service.memories.exchange import read_file
from tests.support.stress.memory_histories import BINDING, DIM


@pytest.mark.parametrize(
    ("name", "value"), [("random_features", 16_384), ("seed", 2**40), ("beta", 1e300), ("readout", "none")]
)
def test_options_out_of_range_are_refused_before_anything_is_computed_with_them(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = ClassMemory(DIM)
    memory.write(["a"], np.ones((1, DIM)), ["cat"])
    data = memory.to_bytes()
    assert read_file(data, BINDING, None)[2][0].id == "a"
    header = read_header(data)
    description = json.loads(header["__metadata__"]["memory"])
    description["configuration"][name] = value
    header["__metadata__"]["memory"] = json.dumps(description)
    monkeypatch.delattr("ait_lite.class_memory.ClassMemory.from_bytes")
    with pytest.raises(MemoryInvalid, match=f"{name} is"):
        read_file(write_header(data, header), BINDING, None)
