"""What all work on memories needs: the store, the models, the threads, and the copies in this process."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from service.engine import Engine
from service.errors import MemoryConflict, MemoryNotFound, NotErased
from service.memories.answering.index import MemoryIndex, State
from service.memories.answering.questions import Questions
from service.memories.binding import Bindings
from service.memories.embedding import Embedder
from service.memories.records import Memory, Quotas, check_reached
from service.memories.results import Described
from service.memories.stores.opening import open_store
from service.memories.stores.store import MemoryStore
from service.settings import Settings

T = TypeVar("T")
audit = logging.getLogger("service.memories.audit")

_THREADS: Final = 4


class MemoryAccess:
    """Access to the memories of a server process. What blocks runs on threads of its own.

    Attributes:
        bindings: Compares memories with models.
        quotas: Limits of each memory, and of how many there are.
        off: True if the server has no memories.
        engine: Decodes images and runs models.
        embedder: Turns images into examples.
        changed: Set when this process has changed a memory.
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
        self.engine, self.embedder = engine, Embedder(engine)
        self._store: MemoryStore | None = None if self.off else open_store(settings.memories)
        self._pool = ThreadPoolExecutor(_THREADS, "memories")
        self._indices: dict[str, MemoryIndex] = {}
        # Those that are being read for the first time: two who want one at once read it together.
        self._begun: WeakValueDictionary[str, MemoryIndex] = WeakValueDictionary()
        self._lock = threading.Lock()
        self._questions: dict[str, Questions] = {}
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

    async def change(self, work: Callable[..., T], note: Callable[[T], object], *arguments: Any) -> T:
        """Change the store on a thread, and log it: what has begun is done, even if who asked for it leaves meanwhile.

        Args:
            work: Changes it.
            note: Logs it by `note_change`, given what `work` has returned; called on the event loop.
            *arguments: Of `work`.
        """
        loop, context = asyncio.get_running_loop(), copy_context()

        def run() -> T:
            try:
                done = work(*arguments)
            except NotErased as error:  # it has happened, whatever its client is told
                loop.call_soon_threadsafe(note, error.done, context=context)
                raise
            loop.call_soon_threadsafe(note, done, context=context)
            return done

        return await self.run(run)

    @contextmanager
    def state(self, name: str, revision: int | None = None, *, wait: bool = True) -> Iterator[State]:
        """Hold the newest state of a memory, as `MemoryIndex.state` does; it blocks if it may wait.

        Raises:
            ServiceError, WouldWait: As there.
        """
        index = self._index(name)
        try:
            with index.state(revision, wait=wait) as state:
                self._indices.setdefault(name, index)  # names of what is not there leave nothing behind
                yield state
        except MemoryNotFound:
            self.drop(name)
            raise

    def snapshot(self, name: str, revision: int | None = None) -> State:
        """Copy the newest state of a memory, for what takes so long that others would wait for it; it blocks.

        Args:
            name: Of the memory.
            revision: The least one that it must have.

        Raises:
            ServiceError: As `state`.
        """
        with self.state(name, revision) as state:
            return state.copy()

    def _index(self, name: str) -> MemoryIndex:
        with self._lock:
            index = self._indices.get(name) or self._begun.get(name)
            if index is None:
                index = self._begun[name] = MemoryIndex(self.store, name)
            return index

    def known(self, name: str) -> Memory | None:
        """Look up a memory as this process has read it last, at once; None if it has not."""
        index = self._indices.get(name)
        return index.known if index else None

    def questions(self, name: str) -> Questions:
        """Get the questions to a memory, which wait for each other's answers."""
        asked = self._questions.get(name)
        if asked is None:
            settings = self.engine.settings
            asked = self._questions[name] = Questions(
                name,
                self.state,
                self.run,
                max_queue=settings.max_queue,
                max_delay=settings.max_delay_ms / 1e3,
                observer=self.engine.observer,
            )
        return asked

    def drop(self, name: str) -> None:
        """Drop what is kept of a memory that is not there any more."""
        self._indices.pop(name, None)
        self._questions.pop(name, None)

    def drop_all_but(self, names: Collection[str]) -> None:
        """Drop what is kept of memories with other names than these."""
        for name in {*self._indices, *self._questions}:
            if name not in names:
                self.drop(name)

    async def memory(self, name: str, revision: int | None) -> Memory:
        """Look up a memory in the store.

        Args:
            name: Of the memory.
            revision: The least one that it must have; None is any.

        Raises:
            MemoryNotFound: There is none of this name.
            RevisionNotReached: The revision is newer than any in the store.
        """
        memory = await self.run(self.store.memory, name)
        check_reached(memory, revision)
        return memory

    async def describe(self, name: str, revision: int | None = None) -> Described:
        """Describe a memory, as `memory` looks it up, with its labels.

        Raises:
            ServiceError: As there.
        """
        described = await self.run(self._describe, name)
        check_reached(described.memory, revision)
        return described

    def check_is_no_model(self, name: str) -> None:
        """Check that a memory can have a name.

        Raises:
            MemoryConflict: A model has it.
        """
        if any(model.folder.name == name for model in self.engine.models.loaded()):
            raise MemoryConflict(f"There is a model {name!r}. A memory answers as a model too: choose another name.")

    def at(self, expected: int | None) -> tuple[Quotas, int | None]:
        """Pair the limits with the revision that is expected, as the store takes them."""
        return self.quotas, expected

    def note_change(self, message: str, by: str, *values: object) -> None:
        """Log what somebody has changed, and have it followed; `message` begins with who it was."""
        audit.info(message, by or "somebody", *values)
        self.changed.set()

    def _describe(self, name: str) -> Described:
        return Described(*self.store.described(name))
