"""Memories with made-up examples, and random histories of what may be done to them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ait_lite.class_memory.features import quantise
from service.memories.answering.index import pack
from service.memories.records import Binding, Lesson, Options, Quotas, Selection
from service.memories.stores.store import MemoryStore

DIM = 8
BINDING = Binding("colours", "f" * 64, DIM)
QUOTAS = Quotas(memories=4, examples=1000, labels=20, bytes=10_000_000)


def vector(seed: int, dim: int = DIM) -> np.ndarray:
    """A feature vector of shape (dim,)."""
    return np.random.default_rng(seed).standard_normal(dim)


def lesson(identifier: str, label: str = "cat", seed: int | None = None, **fields: Any) -> Lesson:
    """An example whose key is a function of the seed, or of its identifier."""
    seed = zlib.crc32(identifier.encode()) if seed is None else seed
    (key,) = pack(quantise(vector(seed)[None]))
    return Lesson(identifier, label, key, **{"sha256": f"{identifier}-{seed}-{label}", **fields})


def taught(store: MemoryStore, *lessons: Lesson, name: str = "pets", **options: Any) -> MemoryStore:
    """The store, with a memory that has been taught these examples."""
    store.create(name, Options(**options), BINDING, QUOTAS)
    if lessons:
        store.teach(name, lessons, BINDING.fingerprint, QUOTAS)
    return store


@dataclass(frozen=True)
class Step:
    """Something done to a memory: "teach", "correct", "forget" or "forget label"."""

    what: str
    id: str
    label: str
    seed: int


def follow(store: MemoryStore, steps: Sequence[Step], name: str = "pets") -> dict[str, Lesson]:
    """Do all steps that can be done; return the examples that are left, as they should be."""
    left: dict[str, Lesson] = {}
    for step in steps:
        if step.what == "teach":
            left[step.id] = lesson(step.id, step.label, step.seed)
            store.teach(name, [left[step.id]], BINDING.fingerprint, QUOTAS)
        elif step.what == "correct" and step.id in left:
            old = left[step.id]
            left[step.id] = Lesson(old.id, step.label, old.key, old.sha256)
            store.correct(name, step.id, step.label, QUOTAS)
        elif step.what == "forget" and step.id in left:
            del left[step.id]
            store.forget(name, Selection(id=step.id))
        elif step.what == "forget label" and any(each.label == step.label for each in left.values()):
            left = {each.id: each for each in left.values() if each.label != step.label}
            store.forget(name, Selection(label=step.label))
    return left
