"""Memories with made-up examples, and random histories of what may be done to them.

    python -m tests.support.stress.memory_histories --postgres --histories 1000

checks as many as one wants; without `--postgres`, in SQLite. A test checks a few in both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import zlib
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ait_lite import class_memory
from ait_lite.class_memory.features import quantise
from service.memories.answering.index import MemoryIndex, filled_memory, pack
from service.memories.records import NOT, Binding, Lesson, Options, Quotas, Selection
from service.memories.stores.opening import open_store
from service.memories.stores.store import MemoryStore
from tests.support.servers.postgres_server import running_postgres

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
        store.teach(store.memory(name), lessons, QUOTAS)
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
            store.teach(store.memory(name), [left[step.id]], QUOTAS)
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


READOUTS = st.sampled_from(class_memory.READOUTS)
STEPS = st.lists(
    st.builds(
        Step,
        what=st.sampled_from(["teach", "teach", "teach", "correct", "forget", "forget label"]),
        id=st.sampled_from("abcdefgh"),
        label=st.sampled_from(["ant", "bee", "cat", f"{NOT}ant"]),
        seed=st.integers(0, 20),
    ),
    max_size=24,
)
QUERIES = np.stack([vector(number) for number in range(900, 905)])


def check_history(store: MemoryStore, steps: Sequence[Step], readout: str) -> None:
    """Follow a history, then another that has only what it left: both memories must hold the same.

    Digests and scores are equal to the bit; those of the Hopfield readout nearly: its sum runs in the order of rows.

    Args:
        store: Takes two memories, `long` and `short`, in place of what they were.
        steps: Of the history; half of them are followed twice, with everything forgotten in between.
        readout: Of both memories.
    """
    for name in ("long", "short"):
        if any(memory.name == name for memory in store.memories()):
            store.delete(name)
        taught(store, name=name, readout=readout)
    follower = MemoryIndex(store, "long")
    half = len(steps) // 2
    follow(store, steps[:half], "long")
    with follower.state() as state:  # it takes over the rest step by step, not from the beginning
        assert len(state.content) == store.memory("long").examples
    for identifier in [each.id for each in store.examples("long", None, "", 100)]:
        store.forget("long", Selection(id=identifier))
    left = follow(store, steps, "long")
    if left:
        store.teach(store.memory("short"), list(left.values()), QUOTAS)
    rebuilt = filled_memory(store.changes("short"))
    with follower.state() as state:
        assert state.content.digest() == rebuilt.digest()
        assert state.content.verify()
        assert state.memory.examples == len(left)
        if left:
            for ours, theirs in zip(state.content.recall(QUERIES), rebuilt.recall(QUERIES), strict=True):
                if readout != "hopfield":  # its sum over all rows runs in their order
                    assert ours.scores.tobytes() == theirs.scores.tobytes()
                np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-6)
                assert (ours.p_value, ours.evidence[0].id) == (theirs.p_value, theirs.evidence[0].id)
    assert store.described("long")[1] == store.described("short")[1]
    assert store.memory("long").bytes == store.memory("short").bytes


def check_histories(store: MemoryStore, count: int, start: int) -> Counter[str]:
    """Check random histories, which the number `start` decides; count them and their steps."""
    counts = Counter[str]()

    @seed(start)
    @settings(max_examples=count, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(steps=STEPS, readout=READOUTS)
    def check(steps: list[Step], readout: str) -> None:
        check_history(store, steps, readout)
        counts.update({"histories": 1, "steps": len(steps), readout: 1})
        if not counts["histories"] % 50:
            print(dict(counts), flush=True)

    check()
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--postgres", action="store_true", help="keep the memories in a PostgreSQL server that is made"
    )
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        where = stack.enter_context(running_postgres()).url if asked.postgres else str(Path(folder, "m.sqlite3"))
        store = open_store(where)
        stack.callback(store.close)
        began = time.monotonic()
        counts = check_histories(store, asked.histories, asked.seed)
    print(f"{time.monotonic() - began:.0f} s: {dict(counts)}; no difference")


if __name__ == "__main__":
    main()
