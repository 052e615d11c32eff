"""Move memories: into files and out of them, and to other models."""

from __future__ import annotations

from ait_lite.class_memory.head import is_prior
from service.errors import MemoryConflict, MemoryNotFound, ServiceError
from service.images.upload import Upload
from service.memories import exchange
from service.memories.access import MemoryAccess
from service.memories.embedding import Draft
from service.memories.records import Example, Keep, Lesson, Memory, Options, check_name, check_revision
from service.memories.results import Described


class Moving(MemoryAccess):
    """Moves memories."""

    async def write_file(self, name: str, *, images: bool, revision: int | None = None) -> tuple[Memory, bytes]:
        """Write the file of a memory.

        Args:
            name: Of the memory.
            images: Whether the file holds what is kept of them.
            revision: The least one that must be written.

        Raises:
            MemoryNotFound: There is none of this name.
            RevisionNotReached: The revision is newer than any in the store.
        """

        def write() -> tuple[Memory, bytes]:
            stored = {each.id: each for each in self.store.lessons(name, images=images)}
            state = self.snapshot(name, revision)
            memory = state.memory
            return memory, exchange.write_file(state.content, memory.binding, stored, memory.options.keep)

        return await self.run(write)

    async def read_file(
        self, name: str, data: bytes, model: str | None, keep: Keep | None, expected: int | None, by: str
    ) -> tuple[Described, bool]:
        """Put what a file holds in the place of what a memory holds; it need not be there.

        Args:
            name: Of the memory.
            data: The file.
            model: The model that the memory is to belong to; None is that of the memory if it is there, else the
                default one.
            keep: What a new memory is to keep of images; None: what the file's memory kept.
            expected: The revision that the memory must have.
            by: Who does it.

        Returns:
            The memory, and whether it is new.

        Raises:
            ServiceError: The file is not one of a memory of that model, or holds too much.
        """
        check_name(name)
        try:
            present = await self.run(self.store.memory, name)
            model, keep = model or present.binding.model, present.options.keep
        except MemoryNotFound:
            self.check_is_no_model(name)
        bound = await self.bindings.bind(model)
        options, binding, lessons = await self.run(exchange.read_file, data, bound, keep)

        def note(put: tuple[Memory, bool]) -> None:
            self.note_change(
                "%s put a file of %d examples into memory %s (revision %d)", by, len(lessons), name, put[0].revision
            )

        _, new = await self.change(self.store.replace, note, name, options, binding, lessons, *self.at(expected))
        return await self.describe(name), new

    async def rebind(self, name: str, model: str | None, expected: int | None, by: str) -> Described:
        """Have another model look at the images that a memory keeps, and bind the memory to it.

        Raises:
            MemoryConflict: It does not keep all its images.
            StaleRevision: It is not at the revision that is expected, or was changed meanwhile.
            ServiceError: The model does not answer.
        """
        memory = await self.run(self.store.memory, name)
        check_revision(memory, expected)
        binding = await self.bindings.bind(model or memory.binding.model)
        served = self.engine.models.get(binding.model)
        bare = Memory(0, name, Options(keep="nothing"), binding, 0.0, 0, 0, 0)
        keys: dict[str, bytes] = {}
        after = ""
        with served.held():
            while listed := await self.run(self.store.examples, name, None, after, 64):
                after = listed[-1].id
                drafts = [await self.run(self._kept, name, each) for each in listed]
                async for chunk in self.embedder.lessons(drafts, bare, served):
                    for made in chunk:
                        if isinstance(made, ServiceError):
                            raise made
                        keys[made.id] = made.key

        def note(bound: Memory) -> None:
            self.note_change("%s bound memory %s to model %s (revision %d)", by, name, binding.model, bound.revision)

        await self.change(self.store.rebind, note, name, binding, keys, memory.revision)
        return await self.describe(name)

    def _kept(self, name: str, example: Example) -> Draft:
        if is_prior(example.id):
            raise MemoryConflict(
                "The memory has begun with what the head of its model knows, which means nothing to another model. "
                "Forget that (?source=head), or make a new memory."
            )
        if example.keeps != "image":
            raise MemoryConflict(
                f"Of example {example.id!r} no image is kept, so no other model can look at it. Teach it again."
            )
        return Draft(Lesson(example.id, example.label, b""), Upload(self.store.image(name, example.id, whole=True)))
