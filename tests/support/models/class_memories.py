"""Memories of classes with made-up examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from ait_lite.class_memory import ClassMemory, Recall

DIM = 6
LABELS = ("ant", "bee", "cat")


def vector(identifier: str) -> np.ndarray:
    return np.random.default_rng(sum(ord(c) * 97**i for i, c in enumerate(identifier))).standard_normal(DIM)


def taught(examples: Sequence[tuple[str, str]], **options: Any) -> ClassMemory:
    memory = ClassMemory(DIM, **options)
    for identifier, label in examples:
        memory.write([identifier], vector(identifier)[None], [label])
    return memory


def clusters(count: int, dim: int = 16, spread: float = 0.3, classes: int = 4, seed: int = 0):
    """`count` vectors around class centres, with ids and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, dim))
    codes = np.arange(count) % classes
    vectors = centres[codes] + spread * rng.standard_normal((count, dim))
    return [f"{seed}-{i}" for i in range(count)], vectors, [f"class {code}" for code in codes]


def assert_same_answers(ours: list[Recall], theirs: list[Recall]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.label, one.labels, one.p_value, one.unknown) == (
            other.label,
            other.labels,
            other.p_value,
            other.unknown,
        )
        assert one.label_without_strongest == other.label_without_strongest
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.evidence == other.evidence


EXAMPLES = st.dictionaries(st.sampled_from([f"e{i}" for i in range(12)]), st.sampled_from(LABELS), min_size=1)
QUERIES = np.random.default_rng(5).standard_normal((4, DIM))
