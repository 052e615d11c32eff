"""The memories of a server: the store, the models and the copies in this process behind one facade."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from service.engine import Engine
from service.errors import MemoryConflict, MemoryFull, MemoryNotFound, ServiceError
from service.images.upload import Upload
from service.memories import exchange, health
from service.memories.archive import Item
from service.memories.binding import Bindings
from service.memories.embedding import Draft, Embedder, sha256
from service.memories.index import MemoryIndex, filled_memory
from service.memories.opening import open_store
from service.memories.reading import Answer
from service.memories.records import (
    NOT,
    Example,
    Keep,
    Lesson,
    Memory,
    Options,
    Outcome,
    Quotas,
    Selection,
    check_id,
    check_label,
    check_name,
    check_revision,
    check_text,
)
from service.memories.store import MemoryStore
from service.settings import Settings

T = TypeVar("T")
audit = logging.getLogger("service.memories.audit")

_THREADS: Final = 4
_ID_DIGITS: Final = 32  # of an image's SHA-256, for the id of an example that the client gave none


@dataclass(frozen=True)
class Described:
    """A memory with the number of examples of each label."""

    memory: Memory
    labels: dict[str, int]


@dataclass(frozen=True)
class Recalled:
    """Answers at a revision; `shown` are the examples of the evidence that have a thumbnail."""

    memory: Memory
    calibrated: bool
    answers: list[Answer]
    shown: frozenset[str]


@dataclass(frozen=True)
class Taught:
    """What became of one image: its id and label, and the outcome, or why it was refused."""

    id: str
    label: str
    outcome: Outcome | ServiceError


@dataclass(frozen=True)
class Verified:
    """Whether a copy that is built anew from the store is the one that answers, and whether all forgetting is done."""

    revision: int
    digest: str
    equal: bool
    erased: bool


class Memories:
    """All memories of a server process. What blocks runs on threads of its own.

    Attributes:
        bindings: Compares memories with models.
        quotas: Limits of each memory, and of how many there are.
    """

    def __init__(self, settings: Settings, engine: Engine) -> None:
        """Take the settings and the engine; nothing is opened yet."""
        self.bindings = Bindings(engine.models)
        self.quotas = Quotas(
            settings.max_memories,
            settings.max_memory_examples,
            settings.max_memory_labels,
            settings.max_memory_bytes,
        )
        self.off = settings.memories == "off"
        self._engine, self._embedder = engine, Embedder(engine)
        self._store: MemoryStore | None = None if self.off else open_store(settings.memories)
        self._pool = ThreadPoolExecutor(_THREADS, "memories")
        self._indices: dict[str, MemoryIndex] = {}
        self.changed = asyncio.Event()

    @property
    def store(self) -> MemoryStore:
        """The truth.

        Raises:
            MemoryNotFound: The server has no memories.
        """
        if self._store is None:
            raise MemoryNotFound("This server has no memories: AIT_MEMORIES is off.")
        return self._store

    def close(self) -> None:
        """Finish what has begun and close the store."""
        self._pool.shutdown()
        if self._store is not None:
            self._store.close()

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run what blocks on a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)

    def index(self, name: str) -> MemoryIndex:
        """Get this process's copy of a memory."""
        return self._indices.setdefault(name, MemoryIndex(self.store, name))

    async def all(self) -> list[Memory]:
        """List all memories by name."""
        return await self.run(self.store.memories)

    async def describe(self, name: str) -> Described:
        """Describe a memory.

        Raises:
            MemoryNotFound: There is none of this name.
        """
        return await self.run(self._describe, name)

    async def create(self, name: str, options: Options, model: str | None, by: str) -> tuple[Described, bool]:
        """Create a memory of a model; return it, and whether it is new.

        Raises:
            ServiceError: It cannot be made, or is there already with other options.
        """
        check_name(name)
        options.check()
        self._check_is_no_model(name)
        binding = await self.bindings.bind(model)
        _, new = await self.run(self.store.create, name, options, binding, self.quotas)
        if new:
            self._changed("%s created memory %s of model %s", by, name, binding.model)
        return await self.describe(name), new

    async def delete(self, name: str, expected: int | None, by: str) -> None:
        """Delete a memory with all that it holds.

        Raises:
            ServiceError: As `MemoryStore.delete`.
        """
        await self.run(self.store.delete, name, expected)
        self._indices.pop(name, None)
        self._changed("%s deleted memory %s", by, name)

    async def teach(
        self, name: str, identifier: str, label: str, source: str, upload: Upload, expected: int | None, by: str
    ) -> tuple[int, Taught]:
        """Teach one image, or do nothing where it has been taught so before; return the memory's revision too.

        Raises:
            ServiceError: The image, its label or the memory is not one to teach.
        """
        memory = await self.run(self.store.memory, name)
        draft = _draft(identifier, label, source, by, upload)
        if await self.run(self._knows, name, draft.lesson):
            check_revision(memory, expected)
            return memory.revision, Taught(draft.lesson.id, draft.lesson.label, "unchanged")
        model = await self.bindings.model_of(memory)
        with model.held():
            lesson = await self._embedder.lesson(draft, memory, model, self._engine.deadline())
        revision, (outcome,) = await self.run(
            self.store.teach, name, [lesson], memory.binding.fingerprint, *self._at(expected)
        )
        if isinstance(outcome, MemoryFull):
            raise outcome
        self._changed(
            "%s taught memory %s example %s of %s (revision %d)", by, name, lesson.id, lesson.label, revision
        )
        return revision, Taught(lesson.id, lesson.label, outcome)

    async def teach_many(
        self, name: str, items: Sequence[Item], label: str, source: str, expected: int | None, by: str
    ) -> tuple[int, list[Taught]]:
        """Teach many images; those that cannot be used are left out, and said.

        Args:
            name: Of the memory.
            items: The images.
            label: Of all of them; empty takes the folder that each is in.
            source: Of all of them.
            expected: The revision that the memory must have before the first is stored.
            by: Who teaches.

        Raises:
            ServiceError: Nothing could be taught, because of the memory or its model.
        """
        memory = await self.run(self.store.memory, name)
        model = await self.bindings.model_of(memory)
        results: dict[int, Taught] = {}
        drafts: dict[int, Draft] = {}
        for place, item in enumerate(items):
            draft = _drafted(item, label, source, by)
            if isinstance(draft, Draft):
                drafts[place] = draft
            else:
                results[place] = draft
        places, revision = list(drafts), memory.revision
        done = 0
        with model.held():
            async for chunk in self._embedder.lessons(list(drafts.values()), memory, model):
                numbered = list(zip(places[done : done + len(chunk)], chunk, strict=True))
                done += len(chunk)
                for place, made in numbered:
                    if isinstance(made, ServiceError):
                        lesson = drafts[place].lesson
                        results[place] = Taught(lesson.id, lesson.label, made)
                good = {place: made for place, made in numbered if isinstance(made, Lesson)}
                if not good:
                    continue
                lessons = list(good.values())
                revision, outcomes = await self.run(
                    self.store.teach, name, lessons, memory.binding.fingerprint, *self._at(expected)
                )
                expected = None if expected is None else revision
                for place, lesson, outcome in zip(good, lessons, outcomes, strict=True):
                    results[place] = Taught(lesson.id, lesson.label, outcome)
        self._changed("%s taught memory %s %d images (revision %d)", by, name, len(good_ones(results)), revision)
        return revision, [results[place] for place in range(len(items))]

    async def correct(
        self, name: str, identifier: str, label: str, negative: bool, expected: int | None, by: str
    ) -> tuple[int, Example]:
        """Correct the label of an example, or say what it is not; return the memory's revision and the example.

        Raises:
            ServiceError: There is no such example, or it cannot have the label.
        """
        stored = (NOT if negative else "") + check_label(label)
        revision = await self.run(self.store.correct, name, identifier, stored, *self._at(expected))
        self._changed(
            "%s corrected example %s of memory %s to %s (revision %d)", by, identifier, name, stored, revision
        )
        return revision, await self.run(self.store.example, name, identifier)

    async def forget(self, name: str, which: Selection, expected: int | None, by: str) -> tuple[int, int]:
        """Forget examples; return the memory's revision, and how many they were.

        Raises:
            ServiceError: As `MemoryStore.forget`.
        """
        revision, count = await self.run(self.store.forget, name, which, expected)
        self._changed("%s had memory %s forget %d examples (revision %d)", by, name, count, revision)
        return revision, count

    async def recall(
        self,
        name: str,
        uploads: Sequence[Upload],
        *,
        evidence: int,
        top_k: int,
        revision: int | None,
        deadline: float,
    ) -> Recalled:
        """Ask a memory about images.

        Args:
            name: Of the memory.
            uploads: The images.
            evidence: Examples to name.
            top_k: Labels to name.
            revision: The least one that must answer.
            deadline: `loop.time()` after which nobody waits for the answer.

        Raises:
            ServiceError: An image cannot be used, or the memory or its model does not answer.
        """
        memory = await self.run(self.store.memory, name)
        model = await self.bindings.model_of(memory)
        with model.held():
            vectors = await self._embedder.vectors(uploads, model, deadline)

        def answer() -> Recalled:
            with self.index(name).state(revision) as state:
                if state.memory.binding != memory.binding:
                    raise MemoryConflict(f"Memory {name!r} has been bound to another model meanwhile. Ask again.")
                answers = state.reading.answers(vectors, evidence=evidence, top_k=top_k)
                named = {seen.id for each in answers for seen in each.evidence}
                shown = frozenset(each for each in named if state.is_shown(each))
                return Recalled(state.memory, state.reading.calibrated, answers, shown)

        return await self.run(answer)

    async def health(self, name: str) -> tuple[Memory, health.Health]:
        """Examine a memory.

        Raises:
            MemoryNotFound: There is none of this name.
        """

        def examine() -> tuple[Memory, health.Health]:
            with self.index(name).state() as state:
                return state.memory, health.examine(state)

        return await self.run(examine)

    async def verify(self, name: str) -> Verified:
        """Build a memory anew from the store, and compare it to the bit with the one that answers.

        Raises:
            MemoryNotFound: There is none of this name.
        """

        def verify() -> Verified:
            with self.index(name).state() as state:
                changes = self.store.changes(name)
                while changes.memory.revision != state.memory.revision:  # somebody wrote in between
                    state.write(changes.memory, changes.rows)
                    state.keep_only({row.number for row in changes.rows})
                    changes = self.store.changes(name)
                digest = filled_memory(changes).digest()
                equal = state.content.verify() and state.content.digest() == digest
                return Verified(state.memory.revision, digest, equal, self.store.erased())

        return await self.run(verify)

    async def write_file(self, name: str) -> tuple[Memory, bytes]:
        """Write the file of a memory.

        Raises:
            MemoryNotFound: There is none of this name.
        """

        def write() -> tuple[Memory, bytes]:
            with self.index(name).state() as state:
                return state.memory, exchange.write_file(state.content, state.memory.binding)

        return await self.run(write)

    async def read_file(
        self, name: str, data: bytes, model: str | None, keep: Keep, expected: int | None, by: str
    ) -> Described:
        """Put what a file holds in the place of what a memory holds; it need not be there.

        Args:
            name: Of the memory.
            data: The file.
            model: The model that the memory is to belong to; None is that of the memory if it is there, else the
                default one.
            keep: What a new memory is to keep of images.
            expected: The revision that the memory must have.
            by: Who does it.

        Raises:
            ServiceError: The file is not one of a memory of that model, or holds too much.
        """
        check_name(name)
        try:
            present = await self.run(self.store.memory, name)
            model, keep = model or present.binding.model, present.options.keep
        except MemoryNotFound:
            self._check_is_no_model(name)
        bound = await self.bindings.bind(model)
        options, binding, lessons = await self.run(exchange.read_file, data, bound, keep)
        memory = await self.run(self.store.replace, name, options, binding, lessons, *self._at(expected))
        self._changed(
            "%s put a file of %d examples into memory %s (revision %d)", by, len(lessons), name, memory.revision
        )
        return await self.describe(name)

    async def rebind(self, name: str, model: str | None, expected: int | None, by: str) -> Described:
        """Have another model look at the images that a memory keeps, and bind the memory to it.

        Raises:
            MemoryConflict: It does not keep all its images, or was changed meanwhile.
            ServiceError: The model does not answer.
        """
        memory = await self.run(self.store.memory, name)
        revision = memory.revision if expected is None else expected
        binding = await self.bindings.bind(model or memory.binding.model)
        served = self._engine.models.get(binding.model)
        bare = Memory(0, name, Options(keep="nothing"), binding, 0.0, 0, 0, 0)
        keys: dict[str, bytes] = {}
        after = ""
        with served.held():
            while listed := await self.run(self.store.examples, name, None, after, 64):
                after = listed[-1].id
                drafts = [await self.run(self._kept, name, each) for each in listed]
                async for chunk in self._embedder.lessons(drafts, bare, served):
                    for made in chunk:
                        if isinstance(made, ServiceError):
                            raise made
                        keys[made.id] = made.key
        await self.run(self.store.rebind, name, binding, keys, revision)
        self._changed("%s bound memory %s to model %s", by, name, binding.model)
        return await self.describe(name)

    async def answered(self, name: str, key: str, request: bytes) -> str | None:
        """Look up the answer to an earlier request with an idempotency key; None if there was none.

        Raises:
            MemoryConflict: The key came with another request.
        """
        return await self.run(self.store.answered, name, key, hashlib.sha256(request).hexdigest())

    async def keep_answer(self, name: str, key: str, request: bytes, answer: str) -> None:
        """Keep the answer to a request with an idempotency key."""
        await self.run(self.store.keep_answer, name, key, hashlib.sha256(request).hexdigest(), answer)

    def _check_is_no_model(self, name: str) -> None:
        if any(model.folder.name == name for model in self._engine.models.loaded()):
            raise MemoryConflict(f"There is a model {name!r}. A memory answers as a model too: choose another name.")

    def _describe(self, name: str) -> Described:
        return Described(self.store.memory(name), self.store.labels(name))

    def _knows(self, name: str, lesson: Lesson) -> bool:
        try:
            known = self.store.example(name, lesson.id)
        except MemoryNotFound:
            return False
        return (known.label, known.source, known.sha256) == (lesson.label, lesson.source, lesson.sha256)

    def _kept(self, name: str, example: Example) -> Draft:
        if example.keeps != "image":
            raise MemoryConflict(
                f"Of example {example.id!r} no image is kept, so no other model can look at it. Teach it again."
            )
        return Draft(Lesson(example.id, example.label, b""), Upload(self.store.image(name, example.id, whole=True)))

    def _at(self, expected: int | None) -> tuple[Quotas, int | None]:
        return self.quotas, expected

    def _changed(self, message: str, by: str, *values: object) -> None:
        audit.info(message, by or "somebody", *values)
        self.changed.set()


def good_ones(results: dict[int, Taught]) -> list[Taught]:
    """List what was not refused."""
    return [each for each in results.values() if not isinstance(each.outcome, ServiceError)]


def _drafted(item: Item, label: str, source: str, by: str) -> Draft | Taught:
    label = label or item.label
    identifier = sha256(item.upload)[:_ID_DIGITS]
    if item.error is not None:
        return Taught("", label, item.error)
    try:
        return _draft(identifier, label, source, by, item.upload)
    except ServiceError as error:
        return Taught("", label, error)


def _draft(identifier: str, label: str, source: str, by: str, upload: Upload) -> Draft:
    lesson = Lesson(
        check_id(identifier),
        check_label(label),
        b"",
        sha256=sha256(upload),
        source=check_text(source, "A source"),
        teacher=by,
    )
    return Draft(lesson, upload)
