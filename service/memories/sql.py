"""What the stores have in common: the statements. Where they differ, a store says in a few methods."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from service.errors import ExampleNotFound, MemoryConflict, MemoryFull, MemoryNotFound
from service.memories.records import (
    Binding,
    Changes,
    Example,
    Keep,
    Lesson,
    Memory,
    Options,
    Outcome,
    Quotas,
    Row,
    Selection,
    check_revision,
)
from service.memories.store import MemoryStore

_DAY = 86_400.0
_MEMORY = (
    "number, name, readout, random_features, seed, beta, unknown_level, keep, model, fingerprint, dim, centre, "
    "created, revision, examples, bytes"
)
_EXAMPLE = (
    "id, label, source, teacher, sha256, created, revision, "
    "CASE WHEN image IS NOT NULL THEN 'image' WHEN thumbnail IS NOT NULL THEN 'thumbnail' ELSE 'nothing' END"
)
_EXAMPLES = "examples LEFT JOIN images ON example = number"


class Transaction(Protocol):
    """A transaction that has begun."""

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement and fetch what it gives."""

    def change(self, statement: str, *values: Any) -> int:
        """Run a statement and count the rows that it has changed."""

    def next_revision(self) -> int:
        """Take the next revision."""


class SqlStore(MemoryStore):
    """A store in a database that speaks SQL."""

    @abstractmethod
    def _reading(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that sees one state of the store throughout."""

    @abstractmethod
    def _writing(self) -> AbstractContextManager[Transaction]:
        """Begin a transaction that writes; it is undone if its context is left by an exception."""

    @abstractmethod
    def _erase(self) -> None:
        """See to it that what was deleted is in no file any more, as far as `forget` promises it."""

    # What holds a memory's row against other writers.
    _locking = ""

    def memories(self) -> list[Memory]:
        with self._reading() as run:
            return [_memory(row) for row in run.rows(f"SELECT {_MEMORY} FROM memories ORDER BY name")]

    def memory(self, name: str) -> Memory:
        with self._reading() as run:
            return _find(run, name)

    def create(self, name: str, options: Options, binding: Binding, quotas: Quotas) -> tuple[Memory, bool]:
        with self._writing() as run:
            try:
                memory = _find(run, name, self._locking)
            except MemoryNotFound:
                return _create(run, name, options, binding, quotas), True
        if (memory.options, memory.binding) != (options, binding):
            raise MemoryConflict(
                f"There is a memory {name!r} already, with other options or bound to another model. Look at it, "
                "choose another name, or delete it first."
            )
        return memory, False

    def delete(self, name: str, expected: int | None = None) -> None:
        with self._writing() as run:
            memory = self._hold(run, name, expected)
            _clear(run, memory)
            run.change("DELETE FROM answers WHERE memory = ?", memory.number)
            run.change("DELETE FROM memories WHERE number = ?", memory.number)
        self._erase()

    def teach(
        self, name: str, lessons: Sequence[Lesson], fingerprint: str, quotas: Quotas, expected: int | None = None
    ) -> tuple[int, list[Outcome | MemoryFull]]:
        with self._writing() as run:
            memory = self._hold(run, name, expected)
            if memory.binding.fingerprint != fingerprint:
                raise MemoryConflict(f"Memory {name!r} has been bound to another model meanwhile. Teach it again.")
            writer = _Writer(run, memory, quotas)
            outcomes = [writer.write(lesson) for lesson in lessons]
            revision = writer.finish()
        if "replaced" in outcomes:
            self._erase()
        return revision, outcomes

    def correct(self, name: str, identifier: str, label: str, quotas: Quotas, expected: int | None = None) -> int:
        with self._writing() as run:
            memory = self._hold(run, name, expected)
            number, old = _number(run, memory, identifier)
            if label == old:
                return memory.revision
            writer = _Writer(run, memory, quotas)
            if full := writer.no_room_for_label(label):
                raise full
            run.change(
                "UPDATE examples SET label = ?, revision = ? WHERE number = ?", label, writer.revision(), number
            )
            return writer.finish()

    def forget(self, name: str, which: Selection, expected: int | None = None) -> tuple[int, int]:
        try:
            with self._writing() as run:
                memory = self._hold(run, name, expected)
                where = f"FROM examples WHERE memory = ? AND {which.column} = ?"
                values = memory.number, which.value
                ((count, size),) = run.rows(f"SELECT COUNT(*), COALESCE(SUM(size), 0) {where}", *values)
                if not count:
                    raise ExampleNotFound(f"Memory {name!r} has no example of {which}.")
                run.change(f"DELETE FROM images WHERE example IN (SELECT number {where})", *values)
                run.change(f"DELETE {where}", *values)
                revision = run.next_revision()
                run.change(
                    "UPDATE memories SET revision = ?, examples = examples - ?, bytes = bytes - ? WHERE number = ?",
                    revision,
                    count,
                    int(size),
                    memory.number,
                )
        finally:
            self._erase()  # also where it was forgotten before, and erasing had not succeeded
        return revision, count

    def replace(
        self,
        name: str,
        options: Options,
        binding: Binding,
        lessons: Sequence[Lesson],
        quotas: Quotas,
        expected: int | None = None,
    ) -> Memory:
        with self._writing() as run:
            try:
                memory = self._hold(run, name, expected)
            except MemoryNotFound:
                if expected is not None:
                    raise
                memory = _create(run, name, options, binding, quotas)
            else:
                _clear(run, memory)
                _bind(run, memory, options, binding)
            empty = Memory(memory.number, name, options, binding, memory.created, memory.revision, 0, 0)
            writer = _Writer(run, empty, quotas)
            for lesson in lessons:
                if isinstance(outcome := writer.write(lesson), MemoryFull):
                    raise outcome
            writer.revision()
            writer.finish()
            memory = _find(run, name)
        self._erase()
        return memory

    def rebind(self, name: str, binding: Binding, keys: dict[str, bytes], expected: int) -> Memory:
        with self._writing() as run:
            memory = self._hold(run, name, expected)
            _bind(run, memory, memory.options, binding)
            writer = _Writer(run, memory, Quotas(0, 0, 0, 0))
            revision, grown = writer.revision(), 0
            for number, identifier, length in run.rows(
                "SELECT number, id, LENGTH(key) FROM examples WHERE memory = ?", memory.number
            ):
                key = keys[identifier]
                grown += len(key) - length
                run.change(
                    "UPDATE examples SET key = ?, revision = ?, size = size + ? WHERE number = ?",
                    key,
                    revision,
                    len(key) - length,
                    number,
                )
            writer.bytes += grown
            writer.finish()
            memory = _find(run, name)
        self._erase()
        return memory

    def changes(self, name: str, since: int | None = None) -> Changes:
        with self._reading() as run:
            memory = _find(run, name)
            rows = run.rows(
                f"SELECT number, id, label, key, thumbnail IS NOT NULL FROM {_EXAMPLES} "
                "WHERE memory = ? AND revision > ?",
                memory.number,
                -1 if since is None else since,
            )
        return Changes(memory, [Row(row[0], row[1], row[2], row[3], bool(row[4])) for row in rows])

    def numbers(self, memory: Memory) -> tuple[int, set[int]]:
        with self._reading() as run:
            revision = run.rows("SELECT revision FROM memories WHERE number = ?", memory.number)
            rows = run.rows("SELECT number FROM examples WHERE memory = ?", memory.number)
        return (revision[0][0] if revision else 0), {row[0] for row in rows}

    def labels(self, name: str) -> dict[str, int]:
        with self._reading() as run:
            rows = run.rows(
                "SELECT label, COUNT(*) FROM examples WHERE memory = ? GROUP BY label", _find(run, name).number
            )
        return dict(sorted((row[0], row[1]) for row in rows))

    def examples(self, name: str, which: Selection | None, after: str, limit: int) -> list[Example]:
        with self._reading() as run:
            memory = _find(run, name)
            also, values = (f"AND {which.column} = ?", [which.value]) if which else ("", [])
            rows = run.rows(
                f"SELECT {_EXAMPLE} FROM {_EXAMPLES} WHERE memory = ? AND id > ? {also} ORDER BY id LIMIT ?",
                memory.number,
                after,
                *values,
                limit,
            )
        return [Example(*row) for row in rows]

    def example(self, name: str, identifier: str) -> Example:
        with self._reading() as run:
            rows = run.rows(
                f"SELECT {_EXAMPLE} FROM {_EXAMPLES} WHERE memory = ? AND id = ?", _find(run, name).number, identifier
            )
        if not rows:
            raise _no_example(name, identifier)
        return Example(*rows[0])

    def image(self, name: str, identifier: str, *, whole: bool) -> bytes:
        column = "image" if whole else "thumbnail"
        with self._reading() as run:
            rows = run.rows(
                f"SELECT {column} FROM {_EXAMPLES} WHERE memory = ? AND id = ?", _find(run, name).number, identifier
            )
        if not rows:
            raise _no_example(name, identifier)
        if rows[0][0] is None:
            raise ExampleNotFound(f"Of example {identifier!r} no {column} is kept.")
        return bytes(rows[0][0])

    def duplicates(self, name: str, limit: int) -> list[list[str]]:
        with self._reading() as run:
            number = _find(run, name).number
            files = run.rows(
                "SELECT sha256 FROM examples WHERE memory = ? AND sha256 <> '' GROUP BY sha256 HAVING COUNT(*) > 1 "
                "ORDER BY sha256 LIMIT ?",
                number,
                limit,
            )
            ids = "SELECT id FROM examples WHERE memory = ? AND sha256 = ? ORDER BY id LIMIT 20"
            return [[row[0] for row in run.rows(ids, number, file)] for (file,) in files]

    def answered(self, name: str, key: str, digest: str) -> str | None:
        with self._reading() as run:
            number = _find(run, name).number
            rows = run.rows("SELECT digest, answer FROM answers WHERE memory = ? AND key = ?", number, key)
        if rows and rows[0][0] != digest:
            raise MemoryConflict("This Idempotency-Key came with another request before. Make a new one.")
        return rows[0][1] if rows else None

    def keep_answer(self, name: str, key: str, digest: str, answer: str) -> None:
        now = time.time()
        with self._writing() as run:
            number = _find(run, name).number
            run.change("DELETE FROM answers WHERE created < ?", now - _DAY)
            run.change(
                "INSERT INTO answers (memory, key, digest, answer, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (memory, key) DO NOTHING",
                number,
                key,
                digest,
                answer,
                now,
            )

    def _hold(self, run: Transaction, name: str, expected: int | None) -> Memory:
        """Find a memory, keep others from changing it, and compare its revision."""
        memory = _find(run, name, self._locking)
        check_revision(memory, expected)
        return memory


class _Writer:
    """Writes examples of one memory, counts them, and gives the memory its next revision if anything changes."""

    def __init__(self, run: Transaction, memory: Memory, quotas: Quotas) -> None:
        self._run, self._memory, self._quotas = run, memory, quotas
        self._revision: int | None = None
        self._examples, self.bytes = memory.examples, memory.bytes

    def revision(self) -> int:
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
        values = (lesson.label, lesson.source, lesson.teacher, lesson.sha256, time.time(), self.revision())
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


def migrate(version: int, migrations: Sequence[Sequence[str]], run: Callable[[str], object], **words: str) -> int:
    """Bring the tables of a store up to date.

    Args:
        version: Of the store; 0 has no tables.
        migrations: All there are.
        run: Runs a statement.
        words: What the braces stand for in this database.

    Returns:
        The version it has now.
    """
    for statements in migrations[version:]:
        for statement in statements:
            run(statement.format(**words))
    return max(version, len(migrations))


def _find(run: Transaction, name: str, locking: str = "") -> Memory:
    rows = run.rows(f"SELECT {_MEMORY} FROM memories WHERE name = ?{locking}", name)
    if not rows:
        raise MemoryNotFound(
            f"There is no memory {name[:100]!r}. Create it first; /v1/memories lists those there are."
        )
    return _memory(rows[0])


def _memory(row: tuple[Any, ...]) -> Memory:
    number, name, readout, random_features, seed, beta, unknown_level, keep, model, fingerprint, dim, centre = row[:12]
    kept: Keep = keep
    options = Options(readout, random_features, seed, beta, unknown_level, kept)
    return Memory(number, name, options, Binding(model, fingerprint, dim, centre and bytes(centre)), *row[12:])


def _create(run: Transaction, name: str, options: Options, binding: Binding, quotas: Quotas) -> Memory:
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
    return _find(run, name)


def _bind(run: Transaction, memory: Memory, options: Options, binding: Binding) -> None:
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


def _clear(run: Transaction, memory: Memory) -> None:
    """Delete all examples of a memory."""
    run.change("DELETE FROM images WHERE example IN (SELECT number FROM examples WHERE memory = ?)", memory.number)
    run.change("DELETE FROM examples WHERE memory = ?", memory.number)


def _number(run: Transaction, memory: Memory, identifier: str) -> tuple[int, str]:
    rows = run.rows("SELECT number, label FROM examples WHERE memory = ? AND id = ?", memory.number, identifier)
    if not rows:
        raise _no_example(memory.name, identifier)
    return rows[0][0], rows[0][1]


def _no_example(name: str, identifier: str) -> ExampleNotFound:
    return ExampleNotFound(f"Memory {name!r} has no example {identifier[:100]!r}.")
