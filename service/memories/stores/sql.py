"""What the stores have in common: the statements. Where they differ, a store says in a few methods."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import TypeVar

from service.errors import (
    DeadlineExceeded,
    ExampleNotFound,
    MemoryConflict,
    MemoryFull,
    MemoryNotFound,
    NotErased,
    RequestUnderWay,
    ServiceError,
    StaleRevision,
    StoreUnavailable,
)
from service.memories.records import (
    ABSENT,
    Binding,
    Changes,
    Claim,
    Example,
    Lesson,
    Memory,
    Options,
    Outcome,
    Quotas,
    Row,
    Selection,
    check_revision,
)
from service.memories.stores.rows import (
    MEMORY,
    ExampleWriter,
    Transaction,
    bind_memory,
    clear_memory,
    create_memory,
    example_number,
    find_memory,
    memory_of,
    no_example,
)
from service.memories.stores.store import CLAIM_SECONDS, MemoryStore

T = TypeVar("T")

_DAY = 86_400.0
_EXAMPLE = (
    "id, label, source, teacher, sha256, created, revision, "
    "CASE WHEN image IS NOT NULL THEN 'image' WHEN thumbnail IS NOT NULL THEN 'thumbnail' ELSE 'nothing' END"
)
_EXAMPLES = "examples LEFT JOIN images ON example = number"
_CLAIMED = "memory = (SELECT number FROM memories WHERE name = ?) AND key = ? AND claim = ?"


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

    def _must_erase(self, run: Transaction) -> None:
        """Note in the transaction that deletes it, where a store does so, that something is to be erased."""

    def _with_erased(self, done: T) -> T:
        """Erase what a change has deleted that is stored by now, and return what the change gives.

        Raises:
            NotErased: That failed.
        """
        try:
            self._erase()
        except StoreUnavailable as error:
            raise NotErased(str(error), done) from error
        return done

    # What holds a memory's row against other writers.
    _locking = ""

    def memories(self) -> list[Memory]:
        with self._reading() as run:
            return [memory_of(row) for row in run.rows(f"SELECT {MEMORY} FROM memories ORDER BY name")]

    def memory(self, name: str) -> Memory:
        with self._reading() as run:
            return find_memory(run, name)

    def create(
        self,
        name: str,
        options: Options,
        binding: Binding,
        quotas: Quotas,
        expected: int | None = None,
        lessons: Sequence[Lesson] = (),
    ) -> tuple[Memory, bool]:
        with self._writing() as run:
            try:
                memory = self._hold(run, name, expected)
            except MemoryNotFound:
                _check_may_be_new(name, expected)
                memory = create_memory(run, name, options, binding, quotas)
                if lessons:
                    _fill(run, memory, lessons, quotas)
                    memory = find_memory(run, name)
                return memory, True
        if (memory.options, memory.binding) != (options, binding):
            raise MemoryConflict(
                f"There is a memory {name!r} already, with {_difference(memory, options, binding)}. Ask for the same, "
                "choose another name, or delete it first."
            )
        return memory, False

    def delete(self, name: str, expected: int | None = None) -> None:
        with self._writing() as run:
            memory = self._hold(run, name, expected)
            clear_memory(run, memory)
            run.change("DELETE FROM answers WHERE memory = ?", memory.number)
            run.change("DELETE FROM memories WHERE number = ?", memory.number)
            self._must_erase(run)
        self._with_erased(None)

    def teach(
        self,
        memory: Memory,
        lessons: Sequence[Lesson],
        quotas: Quotas,
        expected: int | None = None,
        until: float | None = None,
    ) -> tuple[int, list[Outcome | MemoryFull]]:
        with self._writing() as run:
            now = self._hold(run, memory.name, expected)
            if (now.number, now.binding, now.options.keep) != (memory.number, memory.binding, memory.options.keep):
                raise MemoryConflict(
                    f"Memory {memory.name!r} has been made anew or bound to another model meanwhile. Teach it again."
                )
            writer = ExampleWriter(run, now, quotas)
            outcomes = [writer.write(lesson) for lesson in lessons]
            revision = writer.finish()
            if "replaced" in outcomes:
                self._must_erase(run)
            if until is not None and time.monotonic() > until:
                raise DeadlineExceeded
        return self._with_erased((revision, outcomes)) if "replaced" in outcomes else (revision, outcomes)

    def correct(
        self, name: str, identifier: str, label: str, quotas: Quotas, expected: int | None = None
    ) -> tuple[int, Example]:
        with self._writing() as run:
            memory = self._hold(run, name, expected)
            number, old = example_number(run, memory, identifier)
            if label == old:
                return memory.revision, _example(run, memory, identifier)
            writer = ExampleWriter(run, memory, quotas)
            if full := writer.no_room_for_label(label):
                raise full
            run.change(
                "UPDATE examples SET label = ?, revision = ? WHERE number = ?", label, writer.revision(), number
            )
            return writer.finish(), _example(run, memory, identifier)

    def forget(self, name: str, which: Selection, expected: int | None = None) -> tuple[int, int]:
        try:
            with self._writing() as run:
                memory = self._hold(run, name, expected)
                where = f"FROM examples WHERE memory = ? AND {which.column} IN (?, ?)"
                values = memory.number, *which.values
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
                self._must_erase(run)
        except ServiceError:
            self._erase()  # it may have been forgotten before, and erasing not have succeeded
            raise
        return self._with_erased((revision, count))

    def replace(
        self,
        name: str,
        options: Options,
        binding: Binding,
        lessons: Sequence[Lesson],
        quotas: Quotas,
        expected: int | None = None,
    ) -> tuple[Memory, bool]:
        with self._writing() as run:
            try:
                memory = self._hold(run, name, expected)
            except MemoryNotFound:
                _check_may_be_new(name, expected)
                memory, new = create_memory(run, name, options, binding, quotas), True
            else:
                new = False
                clear_memory(run, memory)
                bind_memory(run, memory, options, binding)
            empty = Memory(memory.number, name, options, binding, memory.created, memory.revision, 0, 0)
            _fill(run, empty, lessons, quotas)
            memory = find_memory(run, name)
            self._must_erase(run)
        return self._with_erased((memory, new))

    def rebind(self, name: str, binding: Binding, keys: dict[str, bytes], expected: int) -> Memory:
        with self._writing() as run:
            memory = self._hold(run, name, expected)
            bind_memory(run, memory, memory.options, binding)
            writer = ExampleWriter(run, memory, Quotas(0, 0, 0, 0))
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
            memory = find_memory(run, name)
            self._must_erase(run)
        return self._with_erased(memory)

    def changes(self, name: str, since: int | None = None) -> Changes:
        with self._reading() as run:
            memory = find_memory(run, name)
            rows = run.rows(
                f"SELECT number, id, label, key, thumbnail IS NOT NULL, revision FROM {_EXAMPLES} "
                "WHERE memory = ? AND revision > ?",
                memory.number,
                -1 if since is None else since,
            )
        return Changes(memory, [Row(row[0], row[1], row[2], row[3], bool(row[4]), row[5]) for row in rows])

    def numbers(self, memory: Memory) -> tuple[int, set[int]]:
        with self._reading() as run:
            revision = run.rows("SELECT revision FROM memories WHERE number = ?", memory.number)
            rows = run.rows("SELECT number FROM examples WHERE memory = ?", memory.number)
        return (revision[0][0] if revision else 0), {row[0] for row in rows}

    def described(self, name: str) -> tuple[Memory, dict[str, int]]:
        with self._reading() as run:
            memory = find_memory(run, name)
            rows = run.rows("SELECT label, COUNT(*) FROM examples WHERE memory = ? GROUP BY label", memory.number)
        return memory, dict(sorted((row[0], row[1]) for row in rows))

    def examples(self, name: str, which: Selection | None, after: str, limit: int) -> list[Example]:
        with self._reading() as run:
            memory = find_memory(run, name)
            also, values = (f"AND {which.column} IN (?, ?)", which.values) if which else ("", ())
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
            return _example(run, find_memory(run, name), identifier)

    def image(self, name: str, identifier: str, *, whole: bool) -> bytes:
        column = "image" if whole else "thumbnail"
        with self._reading() as run:
            rows = run.rows(
                f"SELECT {column} FROM {_EXAMPLES} WHERE memory = ? AND id = ?",
                find_memory(run, name).number,
                identifier,
            )
        if not rows:
            raise no_example(name, identifier)
        if rows[0][0] is None:
            raise ExampleNotFound(f"Of example {identifier!r} no {column} is kept.")
        return bytes(rows[0][0])

    def lessons(self, name: str, *, images: bool) -> list[Lesson]:
        kept, tables = ("thumbnail, image", _EXAMPLES) if images else ("NULL, NULL", "examples")
        with self._reading() as run:
            rows = run.rows(
                f"SELECT id, label, key, sha256, source, teacher, created, {kept} FROM {tables} WHERE memory = ?",
                find_memory(run, name).number,
            )
        return [
            Lesson(
                identifier,
                label,
                bytes(key),
                sha256,
                source,
                teacher,
                small and bytes(small),
                whole and bytes(whole),
                taught,
            )
            for identifier, label, key, sha256, source, teacher, taught, small, whole in rows
        ]

    def duplicates(self, name: str, limit: int) -> list[list[str]]:
        with self._reading() as run:
            number = find_memory(run, name).number
            files = run.rows(
                "SELECT sha256 FROM examples WHERE memory = ? AND sha256 <> '' GROUP BY sha256 HAVING COUNT(*) > 1 "
                "ORDER BY sha256 LIMIT ?",
                number,
                limit,
            )
            ids = "SELECT id FROM examples WHERE memory = ? AND sha256 = ? ORDER BY id LIMIT 20"
            return [[row[0] for row in run.rows(ids, number, file)] for (file,) in files]

    def claim_answer(self, claim: Claim) -> str | None:
        now = time.time()
        with self._writing() as run:
            number = find_memory(run, claim.memory).number
            run.change(
                "DELETE FROM answers WHERE created < ? OR (claim IS NOT NULL AND created < ?)",
                now - _DAY,
                now - CLAIM_SECONDS,
            )
            new = run.change(
                "INSERT INTO answers (memory, key, digest, claim, created) VALUES (?, ?, ?, ?, ?) "
                "ON CONFLICT (memory, key) DO NOTHING",
                number,
                claim.key,
                claim.digest,
                claim.token,
                now,
            )
            if new:
                return None
            rows = run.rows("SELECT digest, answer FROM answers WHERE memory = ? AND key = ?", number, claim.key)
        if rows and rows[0][0] != claim.digest:
            raise MemoryConflict("This idempotency key came with another request before. Make a new one.")
        if not rows or rows[0][1] is None:  # none: it has just been dropped
            raise RequestUnderWay("The same request is being answered. Send it again for its answer.")
        return str(rows[0][1])

    def renew_claim(self, claim: Claim) -> None:
        with self._writing() as run:
            run.change(f"UPDATE answers SET created = ? WHERE {_CLAIMED}", time.time(), *claim.place)

    def drop_claim(self, claim: Claim) -> None:
        with self._writing() as run:
            run.change(f"DELETE FROM answers WHERE {_CLAIMED}", *claim.place)

    def keep_answer(self, claim: Claim, answer: str) -> None:
        with self._writing() as run:
            run.change(
                f"UPDATE answers SET answer = ?, claim = NULL, created = ? WHERE {_CLAIMED}",
                answer,
                time.time(),
                *claim.place,
            )

    def _hold(self, run: Transaction, name: str, expected: int | None) -> Memory:
        """Find a memory, keep others from changing it, and compare its revision."""
        memory = find_memory(run, name, self._locking)
        check_revision(memory, expected)
        return memory


def _example(run: Transaction, memory: Memory, identifier: str) -> Example:
    """Look up an example.

    Raises:
        ExampleNotFound: There is none.
    """
    rows = run.rows(f"SELECT {_EXAMPLE} FROM {_EXAMPLES} WHERE memory = ? AND id = ?", memory.number, identifier)
    if not rows:
        raise no_example(memory.name, identifier)
    return Example(*rows[0])


def _check_may_be_new(name: str, expected: int | None) -> None:
    if expected not in (None, ABSENT):
        raise StaleRevision(f"There is no memory {name!r}, at whatever revision. Expect none to make it.")


def _fill(run: Transaction, memory: Memory, lessons: Sequence[Lesson], quotas: Quotas) -> None:
    """Write examples into a memory that has none, and give it its next revision."""
    writer = ExampleWriter(run, memory, quotas)
    for lesson in lessons:
        if isinstance(outcome := writer.write(lesson), MemoryFull):
            raise outcome
    writer.revision()
    writer.finish()


def _difference(memory: Memory, options: Options, binding: Binding) -> str:
    """Say what a memory has otherwise than asked for."""
    if memory.binding != binding:
        return (
            f"model {memory.binding.model}" if memory.binding.model != binding.model else "other weights of its model"
        )
    there, asked = asdict(memory.options), asdict(options)
    return ", ".join(
        f"{name} {value} in place of {asked[name]}" for name, value in there.items() if value != asked[name]
    )
