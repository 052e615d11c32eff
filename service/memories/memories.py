"""The memories of a server: the store, the models and the copies in this process behind one facade."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Final

from ait_lite.checkpoint import CheckpointError
from ait_lite.class_memory import memory_of_head
from ait_lite.wording import counted
from service.errors import MemoryConflict, MemoryNotFound, ModelNotFound, ModelUnavailable
from service.images.upload import Upload
from service.memories.answering import health
from service.memories.answering.index import filled_memory, lessons_of
from service.memories.answering.questions import Question
from service.memories.moving import Moving
from service.memories.records import (
    Example,
    Keep,
    Lesson,
    Memory,
    Options,
    Selection,
    Start,
    check_label,
    check_name,
    stored_label,
)
from service.memories.repeating import Repeating
from service.memories.results import Described, Recalled, Verified
from service.memories.teaching import Teaching

HEAD: Final = "head"  # the source of priors that a memory has begun with


class Memories(Teaching, Moving, Repeating):
    """All memories of a server process."""

    async def all(self) -> list[Memory]:
        """List all memories by name."""
        return await self.run(self.store.memories)

    async def create(
        self,
        name: str,
        options: Options,
        model: str | None,
        expected: int | None,
        by: str,
        start: Start = "nothing",
    ) -> tuple[Described, bool]:
        """Create a memory of a model; return it, and whether it is new.

        Args:
            name: Of the memory.
            options: How it is to be; of one that begins with the head's memory only `keep` counts.
            model: Its model; None is the default one.
            expected: The revision that it must have.
            by: Who does it.
            start: What it knows at first: nothing, or what the model's associative head knows.

        Raises:
            ServiceError: It cannot be made, or is there already with other options or at another revision.
        """
        check_name(name)
        options.check()
        self.check_is_no_model(name)
        binding = await self.bindings.bind(model)
        lessons: list[Lesson] = []
        if start == "head":
            folder = self.engine.models.get(binding.model).folder.path
            options, lessons = await self.run(_of_head, folder, options.keep)

        def note(made: tuple[Memory, bool]) -> None:
            if made[1]:
                self.note_change("%s created memory %s of model %s", by, name, binding.model)

        while True:
            memory, new = await self.change(
                self.store.create, note, name, options, binding, *self.at(expected), lessons
            )
            if new:
                return Described(memory, Counter(each.label for each in lessons)), True
            with suppress(MemoryNotFound):  # deleted in between: it is made anew
                return await self.describe(name), False

    async def delete(self, name: str, expected: int | None, by: str) -> None:
        """Delete a memory with all that it holds.

        Raises:
            ServiceError: As `MemoryStore.delete`.
        """
        await self.change(
            self.store.delete, lambda _: self.note_change("%s deleted memory %s", by, name), name, expected
        )
        self.drop(name)

    async def correct(
        self, name: str, identifier: str, label: str, negative: bool, expected: int | None, by: str
    ) -> tuple[int, Example]:
        """Correct the label of an example, or say what it is not; return the memory's revision and the example.

        Raises:
            ServiceError: There is no such example, or it cannot have the label.
        """
        stored = stored_label(label, negative=negative)

        def note(corrected: tuple[int, Example]) -> None:
            revision, _ = corrected
            self.note_change(
                "%s corrected example %s of memory %s to %s (revision %d)", by, identifier, name, stored, revision
            )

        return await self.change(self.store.correct, note, name, identifier, stored, *self.at(expected))

    async def forget(self, name: str, which: Selection, expected: int | None, by: str) -> tuple[int, int]:
        """Forget examples; return the memory's revision, and how many they were.

        Raises:
            ServiceError: As `MemoryStore.forget`.
        """

        def note(forgotten: tuple[int, int]) -> None:
            revision, count = forgotten
            self.note_change(
                "%s had memory %s forget %s, of %s (revision %d)", by, name, counted(count, "example"), which, revision
            )

        return await self.change(self.store.forget, note, name, which, expected)

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

        async def ask(memory: Memory) -> Recalled:
            questions = self.questions(name)
            questions.check_room()
            model = await self.bindings.model_of(memory)
            with model.held():
                vectors = await self.embedder.vectors(uploads, model, deadline)
            began = time.perf_counter()
            asked = Question(vectors, memory.binding, evidence, top_k, revision)
            recalled = await questions.ask(asked, deadline)
            waited = time.perf_counter() - began - recalled.seconds
            folder = model.folder
            self.engine.observer.inferred(
                folder.name, folder.version, "recall", len(uploads), max(waited, 0.0), recalled.seconds
            )
            return recalled

        # What this process has read last says which model to ask, mostly as the store would: that is not waited for.
        known = self.known(name)
        if known is None:
            return await ask(await self.run(self.store.memory, name))
        try:
            return await ask(known)
        except (MemoryConflict, ModelNotFound, ModelUnavailable):
            memory = await self.run(self.store.memory, name)
            if memory.binding == known.binding:
                raise
            return await ask(memory)

    async def health(self, name: str, revision: int | None = None) -> tuple[Memory, health.Health]:
        """Examine a memory.

        Args:
            name: Of the memory.
            revision: The least one that must be examined.

        Raises:
            MemoryNotFound: There is none of this name.
            RevisionNotReached: The revision is newer than any in the store.
        """

        def examine() -> tuple[Memory, health.Health]:
            state = self.snapshot(name, revision)
            return state.memory, health.examine(state)

        return await self.run(examine)

    async def verify(self, name: str, revision: int | None = None) -> Verified:
        """Build a memory anew from the store, and compare it to the bit with the one that answers.

        Args:
            name: Of the memory.
            revision: The least one that must be verified.

        Raises:
            MemoryNotFound: There is none of this name.
            RevisionNotReached: The revision is newer than any in the store.
        """

        def verify() -> Verified:
            state, changes = self.snapshot(name, revision), self.store.changes(name)
            while not state.catch_up(changes):  # what somebody wrote in between
                state, changes = self.snapshot(name, revision), self.store.changes(name)
            digest = filled_memory(changes).digest()
            equal = state.content.verify() and state.content.digest() == digest
            return Verified(state.memory.revision, digest, equal, self.store.erased())

        return await self.run(verify)


def _of_head(folder: Path, keep: Keep) -> tuple[Options, list[Lesson]]:
    """Read what the associative head of a model knows: how a memory of it answers, and its priors as examples.

    Raises:
        MemoryConflict: The model has no such head.
        MemoryInvalid: One of its labels is none that a memory may have.
    """
    try:
        content = memory_of_head(folder)
    except CheckpointError as error:
        raise MemoryConflict(str(error)) from None
    options = Options(content.readout, beta=content.beta, unknown_level=content.unknown_level, keep=keep)
    return options, [replace(each, label=check_label(each.label), source=HEAD) for each in lessons_of(content)]
