"""Teach images to memories, one or many at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from service.errors import MemoryFull, MemoryNotFound, ServiceError
from service.images.upload import Upload
from service.memories.access import MemoryAccess
from service.memories.archive import Item
from service.memories.embedding import Draft, sha256
from service.memories.records import Lesson, check_id, check_label, check_revision, check_text
from service.memories.results import Taught

_ID_DIGITS: Final = 32  # of an image's SHA-256, for the id of an example that the client gave none


class Teaching(MemoryAccess):
    """Teaches."""

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
            lesson = await self.embedder.lesson(draft, memory, model, self.engine.deadline())
        revision, (outcome,) = await self.run(
            self.store.teach, name, [lesson], memory.binding.fingerprint, *self.at(expected)
        )
        if isinstance(outcome, MemoryFull):
            raise outcome
        self.note_change(
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
            async for chunk in self.embedder.lessons(list(drafts.values()), memory, model):
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
                    self.store.teach, name, lessons, memory.binding.fingerprint, *self.at(expected)
                )
                expected = None if expected is None else revision
                for place, lesson, outcome in zip(good, lessons, outcomes, strict=True):
                    results[place] = Taught(lesson.id, lesson.label, outcome)
        self.note_change("%s taught memory %s %d images (revision %d)", by, name, len(_good_ones(results)), revision)
        return revision, [results[place] for place in range(len(items))]

    def _knows(self, name: str, lesson: Lesson) -> bool:
        try:
            known = self.store.example(name, lesson.id)
        except MemoryNotFound:
            return False
        return (known.label, known.source, known.sha256) == (lesson.label, lesson.source, lesson.sha256)


def _good_ones(results: dict[int, Taught]) -> list[Taught]:
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
