"""What is read from and written to the tables within a transaction."""

from __future__ import annotations

import time
from typing import Any, Final, Protocol

from service.errors import ExampleNotFound, MemoryFull, MemoryNotFound
from service.memories.records import Binding, Keep, Lesson, Memory, Options, Outcome, Quotas

MEMORY: Final = (
    "number, name, readout, random_features, seed, beta, unknown_level, keep, model, fingerprint, dim, centre, "
    "created, revision, examples, bytes"
)


class Transaction(Protocol):
    """A transaction that has begun."""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and fetch what it gives."""

    def change(self, statement: str, *values: Any) -> int:
        """Run a statement and count the rows that it has changed."""

    def next_revision(self) -> int:
        """Take the next revision."""


class ExampleWriter:
    """Writes examples of one memory, counts them, and gives the memory its next revision if anything changes.

    Attributes:
        bytes: Of the memory's keys and kept images, with what has been written.
    """

    def __init__(self, run: Transaction, memory: Memory, quotas: Quotas) -> None:
        self._run, self._memory, self._quotas = run, memory, quotas
        self._revision: int | None = None
        self._examples, self.bytes = memory.examples, memory.bytes

    def revision(self) -> int:
        """Take the memory's next revision, the same each time."""
        if self._revision is None:
            self._revision = self._run.next_revision()
        return self._revision

    def finish(self) -> int:
        """Write the counts; return the memory's revision."""
        if self._revision is None:
            return self._memory.revision
        self._run.change(
            "UPDATE memories SET revision = ?, examples = ?, bytes = ? WHERE number = ?",
            self._revision,
            self._examples,
            self.bytes,
            self._memory.number,
        )
        return self._revision

    def write(self, lesson: Lesson) -> Outcome | MemoryFull:
        """Write an example; return what has become of it, or why there is no room for it."""
        found = self._run.rows(
            "SELECT number, label, sha256, source, size FROM examples WHERE memory = ? AND id = ?",
            self._memory.number,
            lesson.id,
        )
        if found and lesson.sha256 and tuple(found[0][1:4]) == (lesson.label, lesson.sha256, lesson.source):
            return "unchanged"
        size = lesson.size - (found[0][4] if found else 0)
        if full := self._no_room(lesson, size, new=not found):
            return full
        self.bytes += size
        taught = time.time() if lesson.taught is None else lesson.taught
        values = (lesson.label, lesson.source, lesson.teacher, lesson.sha256, taught, self.revision())
        if found:
            number = found[0][0]
            self._run.change(
                "UPDATE examples SET label = ?, source = ?, teacher = ?, sha256 = ?, created = ?, revision = ?, "
                "size = ?, key = ? WHERE number = ?",
                *values,
                lesson.size,
                lesson.key,
                number,
            )
            self._run.change("DELETE FROM images WHERE example = ?", number)
        else:
            self._examples += 1
            ((number,),) = self._run.rows(
                "INSERT INTO examples (memory, id, label, source, teacher, sha256, created, revision, size, key) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number",
                self._memory.number,
                lesson.id,
                *values,
                lesson.size,
                lesson.key,
            )
        if lesson.thumbnail is not None or lesson.image is not None:
            self._run.change(
                "INSERT INTO images (example, thumbnail, image) VALUES (?, ?, ?)",
                number,
                lesson.thumbnail,
                lesson.image,
            )
        return "replaced" if found else "created"

    def _no_room(self, lesson: Lesson, size: int, *, new: bool) -> MemoryFull | None:
        name = self._memory.name
        if new and self._examples >= self._quotas.examples:
            return MemoryFull(
                f"Memory {name!r} holds {self._examples:,} examples, the most it may. Forget some first."
            )
        if size > 0 and self.bytes + size > self._quotas.bytes:
            return MemoryFull(
                f"Memory {name!r} holds {self.bytes:,} bytes of at most {self._quotas.bytes:,}. Forget some examples, "
                "or use a memory that keeps thumbnails or nothing."
            )
        return self.no_room_for_label(lesson.label)

    def no_room_for_label(self, label: str) -> MemoryFull | None:
        """Say why there can't be another label, if this one would be and there can't."""
        number = self._memory.number
        if self._run.rows("SELECT 1 FROM examples WHERE memory = ? AND label = ? LIMIT 1", number, label):
            return None
        ((count,),) = self._run.rows("SELECT COUNT(DISTINCT label) FROM examples WHERE memory = ?", number)
        if count < self._quotas.labels:
            return None
        return MemoryFull(f"Memory {self._memory.name!r} has {count:,} labels, the most it may. Use one of them.")


def find_memory(run: Transaction, name: str, locking: str = "") -> Memory:
    """Find a memory by name; `locking` ends the statement.

    Raises:
        MemoryNotFound: There is none.
    """
    rows = run.rows(f"SELECT {MEMORY} FROM memories WHERE name = ?{locking}", name)
    if not rows:
        raise MemoryNotFound(
            f"There is no memory {name[:100]!r}. Create it first; /v1/memories lists those there are."
        )
    return memory_of(rows[0])


def memory_of(row: tuple[Any, ...]) -> Memory:
    """Read a row of the columns `MEMORY`."""
    number, name, readout, random_features, seed, beta, unknown_level, keep, model, fingerprint, dim, centre = row[:12]
    kept: Keep = keep
    options = Options(readout, random_features, seed, beta, unknown_level, kept)
    return Memory(number, name, options, Binding(model, fingerprint, dim, centre and bytes(centre)), *row[12:])


def create_memory(run: Transaction, name: str, options: Options, binding: Binding, quotas: Quotas) -> Memory:
    """Create a memory whose name is free.

    Raises:
        MemoryFull: There are too many.
    """
    ((count,),) = run.rows("SELECT COUNT(*) FROM memories")
    if count >= quotas.memories:
        raise MemoryFull(f"There are {count} memories, the most there may be. Delete one first.")
    run.change(
        "INSERT INTO memories (name, readout, random_features, seed, beta, unknown_level, keep, model, fingerprint, "
        "dim, centre, created, revision, examples, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
        name,
        *_columns(options, binding),
        time.time(),
        run.next_revision(),
    )
    return find_memory(run, name)


def bind_memory(run: Transaction, memory: Memory, options: Options, binding: Binding) -> None:
    """Give a memory other options and another model."""
    run.change(
        "UPDATE memories SET readout = ?, random_features = ?, seed = ?, beta = ?, unknown_level = ?, keep = ?, "
        "model = ?, fingerprint = ?, dim = ?, centre = ? WHERE number = ?",
        *_columns(options, binding),
        memory.number,
    )


def _columns(options: Options, binding: Binding) -> tuple[Any, ...]:
    return (
        options.readout,
        options.random_features,
        options.seed,
        options.beta,
        options.unknown_level,
        options.keep,
        binding.model,
        binding.fingerprint,
        binding.dim,
        binding.centre,
    )


def clear_memory(run: Transaction, memory: Memory) -> None:
    """Delete all examples of a memory."""
    run.change("DELETE FROM images WHERE example IN (SELECT number FROM examples WHERE memory = ?)", memory.number)
    run.change("DELETE FROM examples WHERE memory = ?", memory.number)


def example_number(run: Transaction, memory: Memory, identifier: str) -> tuple[int, str]:
    """Look up the number and the label of an example.

    Raises:
        ExampleNotFound: There is none.
    """
    rows = run.rows("SELECT number, label FROM examples WHERE memory = ? AND id = ?", memory.number, identifier)
    if not rows:
        raise no_example(memory.name, identifier)
    return rows[0][0], rows[0][1]


def no_example(name: str, identifier: str) -> ExampleNotFound:
    """Say that there is no example of an id."""
    return ExampleNotFound(f"Memory {name!r} has no example {identifier[:100]!r}.")
