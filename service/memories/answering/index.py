"""What a process keeps of a memory to answer at once: a copy of the store, which can be made again at any time."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from ait_lite.class_memory import ClassMemory
from ait_lite.class_memory.features import quantise
from service.errors import MemoryInvalid
from service.memories.answering.reading import Reading
from service.memories.records import Binding, Changes, Lesson, Memory, Row, check_reached
from service.memories.stores.store import MemoryStore

_KEY_TYPE = "<i2"


def pack(keys: np.ndarray) -> list[bytes]:
    """Write integer keys (n, d) as the store holds them."""
    return [key.tobytes() for key in keys.astype(_KEY_TYPE)]


def unpack(keys: Sequence[bytes], dim: int) -> np.ndarray:
    """Read keys as the store holds them; int16 of shape (n, dim)."""
    return np.frombuffer(b"".join(keys), _KEY_TYPE).reshape(len(keys), dim)


def keys_of(vectors: np.ndarray, binding: Binding) -> np.ndarray:
    """Make integer keys of a model's feature vectors (n, d).

    Raises:
        MemoryInvalid: One is zero.
    """
    try:
        return quantise(vectors, _centre(binding))
    except ValueError:
        raise MemoryInvalid("The model sees nothing in this image: its features are all zero.") from None


def empty_memory(memory: Memory) -> ClassMemory:
    """Make the library's memory with the options of a stored one, without its examples."""
    options, binding = memory.options, memory.binding
    return ClassMemory(
        binding.dim,
        readout=options.readout,
        random_features=options.random_features,
        seed=options.seed,
        centre=_centre(binding),
        beta=options.beta,
        unknown_level=options.unknown_level,
    )


def filled_memory(changes: Changes) -> ClassMemory:
    """Make the library's memory with all examples that the store has read."""
    content, rows = empty_memory(changes.memory), changes.rows
    if rows:
        content.write_keys(
            [row.id for row in rows], unpack([row.key for row in rows], content.dim), [row.label for row in rows]
        )
    return content


class State:
    """A memory as it was at some revision, with what it answers from.

    Attributes:
        memory: Its description.
        content: Its examples.
        reading: How scores are read.
    """

    def __init__(self, memory: Memory) -> None:
        """Begin without examples."""
        self.memory, self.content = memory, empty_memory(memory)
        self.reading = Reading(self.content)
        self._ids: dict[int, str] = {}
        self._shown: dict[str, bool] = {}

    def copy(self) -> State:
        """Copy the state, for what takes too long to hold the memory meanwhile."""
        copied = State(self.memory)
        copied.content = self.content.copy()
        copied.reading = Reading(copied.content)
        copied._ids, copied._shown = dict(self._ids), dict(self._shown)
        return copied

    def is_shown(self, identifier: str) -> bool:
        """Return True if the store has a thumbnail of an example."""
        return self._shown.get(identifier, False)

    def write(self, memory: Memory, rows: Sequence[Row]) -> None:
        """Take over examples that are new or have changed."""
        self.memory = memory
        if not rows:
            return
        ids = [row.id for row in rows]
        self.content.write_keys(
            ids, unpack([row.key for row in rows], memory.binding.dim), [row.label for row in rows]
        )
        self._ids.update((row.number, row.id) for row in rows)
        self._shown.update((row.id, row.shown) for row in rows)
        self.reading = Reading(self.content)

    def keep_only(self, numbers: set[int]) -> None:
        """Forget the examples with other numbers than these."""
        kept = {self._ids[number] for number in numbers & self._ids.keys()}
        gone = [number for number in self._ids if number not in numbers]
        # An example that was put in the place of another of the same id has another number.
        ids = {self._ids.pop(number) for number in gone} - kept
        if ids:
            self.content.forget(list(ids))
        for identifier in ids:
            del self._shown[identifier]
        self.reading = Reading(self.content)

    def catch_up(self, whole: Changes) -> bool:
        """Take over what was written since this revision, out of all that the store holds by now.

        Returns:
            False, with nothing done, where that is another memory of the same name, or bound to another model.
        """
        if not _continues(self.memory, whole.memory):
            return False
        if self.memory.revision != whole.memory.revision:
            self.write(whole.memory, [row for row in whole.rows if row.revision > self.memory.revision])
            self.keep_only({row.number for row in whole.rows})
        return True


class WouldWait(Exception):
    """What was wanted at once cannot be had without waiting."""


class MemoryIndex:
    """The copy of one memory in this process.

    Its methods block unless they are told not to, and may be called by several threads at once.
    """

    def __init__(self, store: MemoryStore, name: str) -> None:
        """Take the store and the name of a memory in it; nothing is read yet."""
        self._store, self._name = store, name
        self._lock = threading.Lock()
        self._token: Hashable = None
        self._state: State | None = None

    @property
    def known(self) -> Memory | None:
        """The memory as it was last read, at once; None if it has not been."""
        state = self._state
        return state.memory if state else None

    @contextmanager
    def state(self, revision: int | None = None, *, wait: bool = True) -> Iterator[State]:
        """Hold the memory's newest state; nobody else uses it meanwhile.

        Args:
            revision: The least one that it must have.
            wait: False neither waits for others that hold it nor reads what has changed in the store.

        Raises:
            MemoryNotFound: There is no such memory.
            RevisionNotReached: The revision is newer than any in the store.
            WouldWait: It would have to wait, and may not.
        """
        if not self._lock.acquire(blocking=wait):
            raise WouldWait
        try:
            token = self._store.token()
            behind = self._state is not None and revision is not None and self._state.memory.revision < revision
            if self._state is None or behind or token != self._token:
                if not wait:
                    raise WouldWait
                self._refresh()
                self._token = token
            assert self._state is not None
            check_reached(self._state.memory, revision)
            yield self._state
        finally:
            self._lock.release()

    def _refresh(self) -> None:
        state = self._state
        try:
            while True:
                since = None if state is None else state.memory.revision
                changes = self._store.changes(self._name, since)
                if state is None or not _continues(state.memory, changes.memory):
                    if since is not None:
                        changes = self._store.changes(self._name)
                    state = State(changes.memory)
                state.write(changes.memory, changes.rows)
                if len(state.content) == changes.memory.examples:
                    break
                revision, numbers = self._store.numbers(changes.memory)
                if revision == changes.memory.revision:
                    state.keep_only(numbers)
                    break
        except BaseException:
            self._state = None  # it may be half changed
            raise
        self._state = state


def lessons_of(content: ClassMemory) -> list[Lesson]:
    """List the examples of the library's memory as the store takes them."""
    ids = content.ids()
    keys = pack(content.keys(ids))
    return [Lesson(each, content.label_of(each), key) for each, key in zip(ids, keys, strict=True)]


def _centre(binding: Binding) -> np.ndarray | None:
    return None if binding.centre is None else np.frombuffer(binding.centre, "<f8")


def _continues(old: Memory, new: Memory) -> bool:
    return (old.number, old.options, old.binding) == (new.number, new.options, new.binding)
