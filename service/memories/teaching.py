"""Teach images to memories, one or many at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from ait_lite.class_memory.head import is_prior
from service.errors import DeadlineExceeded, MemoryFull, MemoryInvalid, MemoryNotFound, ServiceError
from service.images.upload import Upload
from service.memories.access import MemoryAccess
from service.memories.archive import Item
from service.memories.embedding import CHUNK, Draft, sha256
from service.memories.records import Lesson, Memory, Outcome, check_id, check_revision, check_text, stored_label
from service.memories.results import Taught

_ID_DIGITS: Final = 32  # of an image's SHA-256, for the id of an example that the client gave none


class Teaching(MemoryAccess):
    """Teaches."""

    async def teach(
        self,
        name: str,
        identifier: str,
        label: str,
        source: str,
        upload: Upload,
        expected: int | None,
        by: str,
        *,
        deadline: float,
        negative: bool = False,
    ) -> tuple[int, Taught]:
        """Teach one image, or do nothing where it has been taught so before; return the memory's revision too.

        Args:
            name: Of the memory.
            identifier: Of the example.
            label: Of the image.
            source: Of the image.
            upload: The image.
            expected: The revision that the memory must have.
            by: Who teaches.
            deadline: `loop.time()` after which nobody waits for it, and nothing is stored any more.
            negative: Whether the label is what the image does not show.

        Raises:
            ServiceError: The image, its label or the memory is not one to teach, or the deadline has passed.
        """
        memory = await self.run(self.store.memory, name)
        draft = _draft(identifier, label, source, by, upload, negative=negative)
        if await self.run(self._knows, name, draft.lesson):
            check_revision(memory, expected)
            return memory.revision, Taught(draft.lesson.id, draft.lesson.label, "unchanged")
        model = await self.bindings.model_of(memory)
        with model.held():
            lesson = await self.embedder.lesson(draft, memory, model, deadline)
        revision, (outcome,) = await self._keep_lessons([lesson], memory, expected, by, deadline)
        if isinstance(outcome, MemoryFull):
            raise outcome
        return revision, Taught(lesson.id, lesson.label, outcome)

    async def teach_many(
        self,
        name: str,
        items: Sequence[Item],
        label: str,
        source: str,
        expected: int | None,
        by: str,
        *,
        deadline: float | None = None,
    ) -> tuple[int, list[Taught]]:
        """Teach many images, a few at a time; those that cannot be used are left out, and said.

        Args:
            name: Of the memory.
            items: The images; each is read when its turn comes.
            label: Of all of them; empty takes the folder that each is in.
            source: Of all of them.
            expected: The revision that the memory must have before the first is stored.
            by: Who teaches.
            deadline: `loop.time()` after which nobody waits for it, and nothing more is stored; None: it takes as long
                as it takes.

        Raises:
            ServiceError: Nothing could be taught, because of the memory or its model, or because the deadline passed
                before the first was stored.
        """
        memory = await self.run(self.store.memory, name)
        check_revision(memory, expected)
        model = await self.bindings.model_of(memory)
        results: list[Taught] = []
        revision, begun = memory.revision, False
        with model.held():
            for start in range(0, len(items), CHUNK):
                drafts = await self.run(_drafted, items[start : start + CHUNK], label, source, by)
                asked = [each for each in drafts if isinstance(each, Draft)]
                made = [each async for some in self.embedder.lessons(asked, memory, model, deadline) for each in some]
                lessons = [each for each in made if isinstance(each, Lesson)]
                stored: list[Outcome | MemoryFull | DeadlineExceeded] = []
                try:
                    _check_time(deadline)
                    if lessons:
                        revision, kept = await self._keep_lessons(lessons, memory, expected, by, deadline)
                        expected, begun = None, True  # others may teach meanwhile: what is stored stays, and is told
                        stored += kept
                except DeadlineExceeded as error:
                    if not begun:
                        raise
                    stored += [error] * len(lessons)
                outcomes = iter(stored)
                ends = [next(outcomes) if isinstance(each, Lesson) else each for each in made]
                pairs = zip((draft.lesson for draft in asked), ends, strict=True)
                taught = iter([Taught(lesson.id, lesson.label, outcome) for lesson, outcome in pairs])
                results += [next(taught) if isinstance(each, Draft) else each for each in drafts]
        return revision, results

    async def _keep_lessons(
        self,
        lessons: Sequence[Lesson],
        memory: Memory,
        expected: int | None,
        by: str,
        deadline: float | None,
    ) -> tuple[int, list[Outcome | MemoryFull]]:
        def note(stored: tuple[int, list[Outcome | MemoryFull]]) -> None:
            revision, outcomes = stored
            changed = [
                lesson for lesson, outcome in zip(lessons, outcomes, strict=True) if outcome in ("created", "replaced")
            ]
            if changed:
                examples = ", ".join(f"{lesson.id} of {lesson.label}" for lesson in changed)
                self.note_change("%s taught memory %s %s (revision %d)", by, memory.name, examples, revision)

        # The store asks a clock that all threads have.
        until = None if deadline is None else time.monotonic() + deadline - asyncio.get_running_loop().time()
        return await self.change(self.store.teach, note, memory, lessons, *self.at(expected), until)

    async def names(self, items: Sequence[Item], label: str, source: str) -> list[tuple[str, str]]:
        """Tell the id and the label that `teach_many` has given each image, without teaching any.

        Args:
            items: The images; each is read when its turn comes.
            label: As there.
            source: As there.
        """

        def name(item: Item) -> tuple[str, str]:
            (drafted,) = _drafted([item], label, source, by="")
            named = drafted.lesson if isinstance(drafted, Draft) else drafted
            return named.id, named.label

        return await self.run(lambda: [name(item) for item in items])

    def _knows(self, name: str, lesson: Lesson) -> bool:
        try:
            known = self.store.example(name, lesson.id)
        except MemoryNotFound:
            return False
        return (known.label, known.source, known.sha256) == (lesson.label, lesson.source, lesson.sha256)


def _check_time(deadline: float | None) -> None:
    if deadline is not None and asyncio.get_running_loop().time() > deadline:
        raise DeadlineExceeded


def _drafted(items: Sequence[Item], label: str, source: str, by: str) -> list[Draft | Taught]:
    """Read images and make drafts of them; what cannot be one is refused."""
    return [_drafted_one(item, label or item.label, source, by) for item in items]


def _drafted_one(item: Item, label: str, source: str, by: str) -> Draft | Taught:
    if item.error is not None:
        return Taught("", label, item.error)
    upload = Upload(item.read(), item.name)
    try:
        return _draft(sha256(upload)[:_ID_DIGITS], label, source, by, upload)
    except ServiceError as error:
        return Taught("", label, error)


def _draft(identifier: str, label: str, source: str, by: str, upload: Upload, *, negative: bool = False) -> Draft:
    if is_prior(identifier):
        raise MemoryInvalid("Ids that begin with prior: are of what a memory has begun with. Choose another one.")
    lesson = Lesson(
        check_id(identifier),
        stored_label(label, negative=negative),
        b"",
        sha256=sha256(upload),
        source=check_text(source, "A source"),
        teacher=by,
    )
    return Draft(lesson, upload)
