"""A file holds the whole memory, and is refused where it is damaged."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ait_lite.class_memory import ClassMemory
from tests.support.models.class_memories import assert_same_answers, clusters, taught


def test_a_file_holds_the_whole_memory(tmp_path: Path) -> None:
    ids, vectors, labels = clusters(50)
    memory = ClassMemory(16, centre=np.full(16, 0.1), random_features=8, seed=3, readout="prototype", beta=5.0)
    memory.write(ids, vectors, labels)
    memory.save(tmp_path / "memory.safetensors")
    loaded = ClassMemory.load(tmp_path / "memory.safetensors")
    assert loaded.verify()
    assert loaded.digest() == memory.digest()
    assert (loaded.readout, loaded.beta, loaded.seed) == ("prototype", 5.0, 3)
    assert_same_answers(loaded.recall(vectors[:5]), memory.recall(vectors[:5]))
    assert [path.name for path in tmp_path.iterdir()] == ["memory.safetensors"]


def test_an_empty_memory_can_be_kept() -> None:
    memory = ClassMemory(4)
    assert ClassMemory.from_bytes(memory.to_bytes()).digest() == memory.digest()
    with pytest.raises(ValueError, match="empty"):
        memory.recall(np.ones((1, 4)))
    with pytest.raises(ValueError, match="empty"):
        memory.fullness()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_is_the_same(data) -> None:
    memory = taught([("a", "ant"), ("b", "bee")])
    whole = memory.to_bytes()
    damaged = bytearray(whole)
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    try:
        loaded = ClassMemory.from_bytes(bytes(damaged))
    except ValueError:
        return
    assert loaded.digest() == memory.digest()
