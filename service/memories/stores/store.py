"""The interface of a store of memories: the truth, of which everything else is a copy that can be made again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Final

from service.errors import MemoryFull
from service.memories.records import (
    Binding,
    Changes,
    Claim,
    Example,
    Lesson,
    Memory,
    Options,
    Outcome,
    Quotas,
    Selection,
)

CLAIM_SECONDS: Final = 60.0


class MemoryStore(ABC):
    """A store of memories. Its methods block, and may be called by several threads at once.

    Every method is one transaction: it happens as a whole or not at all, and what it has written stays when it has
    returned. All of them raise `StoreUnavailable` where the store does not answer, and `NotErased` where they have
    written, but could not erase what they have deleted. `expected` is the revision that the memory must have now, else
    `StaleRevision` is raised; None is any, `ABSENT` that it is not there, `PRESENT` that it is. One that is not there
    is then not made: `StaleRevision` too.
    """

    @abstractmethod
    def memories(self) -> list[Memory]:
        """List all memories by name."""

    @abstractmethod
    def memory(self, name: str) -> Memory:
        """Look up a memory.

        Raises:
            MemoryNotFound: There is none of this name.
        """

    @abstractmethod
    def create(
        self,
        name: str,
        options: Options,
        binding: Binding,
        quotas: Quotas,
        expected: int | None = None,
        lessons: Sequence[Lesson] = (),
    ) -> tuple[Memory, bool]:
        """Create a memory; one that is there already with the same options and binding is left as it is.

        Args:
            name: Of the memory.
            options: How it is to be.
            binding: To its model.
            quotas: Limits.
            expected: As for all methods.
            lessons: The examples that a new one begins with.

        Returns:
            The memory, and whether it is new.

        Raises:
            MemoryConflict: It is there with other ones.
            MemoryFull: There are too many, or it may not hold these examples.
        """

    @abstractmethod
    def delete(self, name: str, expected: int | None = None) -> None:
        """Delete a memory; nothing of it is left in any file of the store on return.

        Raises:
            MemoryNotFound: There is none of this name.
        """

    @abstractmethod
    def teach(
        self,
        memory: Memory,
        lessons: Sequence[Lesson],
        quotas: Quotas,
        expected: int | None = None,
        until: float | None = None,
    ) -> tuple[int, list[Outcome | MemoryFull]]:
        """Store examples; those with an identifier that is there already are replaced.

        Args:
            memory: As it was when the examples were made for it.
            lessons: The examples.
            quotas: Limits; an example that does not fit is left out.
            expected: As for all methods.
            until: `time.monotonic()` after which nothing is stored any more: it may have waited for others that write.
                None is any time.

        Returns:
            The memory's revision, and what has become of each example.

        Raises:
            MemoryNotFound: There is no such memory.
            MemoryConflict: It is bound to another model by now, or one of its name has been made in its place.
            DeadlineExceeded: It is later than `until`.
        """

    @abstractmethod
    def correct(
        self, name: str, identifier: str, label: str, quotas: Quotas, expected: int | None = None
    ) -> tuple[int, Example]:
        """Change the label of an example; return the memory's revision, and the example as it is then.

        Raises:
            MemoryNotFound: There is no such memory or example.
            MemoryFull: The memory has no room for another label.
        """

    @abstractmethod
    def forget(self, name: str, which: Selection, expected: int | None = None) -> tuple[int, int]:
        """Forget examples; nothing of their keys and images is left in any file of the store on return.

        Returns:
            The memory's revision, and how many they were.

        Raises:
            MemoryNotFound: There is no such memory, or no such example.
        """

    @abstractmethod
    def replace(
        self,
        name: str,
        options: Options,
        binding: Binding,
        lessons: Sequence[Lesson],
        quotas: Quotas,
        expected: int | None = None,
    ) -> tuple[Memory, bool]:
        """Put examples in the place of all that a memory holds, with their options and model; it need not be there.

        Returns:
            The memory, and whether it is new.

        Raises:
            MemoryFull: They are more than a memory may hold.
        """

    @abstractmethod
    def rebind(self, name: str, binding: Binding, keys: dict[str, bytes], expected: int) -> Memory:
        """Give every example another key, made by another model.

        Args:
            name: Of the memory.
            binding: To the other model.
            keys: By identifier, of all examples.
            expected: As for all methods.
        """

    @abstractmethod
    def changes(self, name: str, since: int | None = None) -> Changes:
        """Read a memory and those of its examples that were written after a revision; None is all.

        Raises:
            MemoryNotFound: There is no such memory.
        """

    @abstractmethod
    def numbers(self, memory: Memory) -> tuple[int, set[int]]:
        """Read the revision of a memory and the numbers of its examples; 0 and none if it is gone."""

    @abstractmethod
    def described(self, name: str) -> tuple[Memory, dict[str, int]]:
        """Read a memory and count the examples of each label, both at one revision.

        Raises:
            MemoryNotFound: There is no such memory.
        """

    @abstractmethod
    def examples(self, name: str, which: Selection | None, after: str, limit: int) -> list[Example]:
        """List examples by identifier, from the first one after another.

        Raises:
            MemoryNotFound: There is no such memory.
        """

    @abstractmethod
    def example(self, name: str, identifier: str) -> Example:
        """Look up an example.

        Raises:
            MemoryNotFound: There is no such memory or example.
        """

    @abstractmethod
    def image(self, name: str, identifier: str, *, whole: bool) -> bytes:
        """Read what is kept of an example's image: the file, or its thumbnail.

        Raises:
            MemoryNotFound: There is no such memory or example, or that is not kept of it.
        """

    @abstractmethod
    def lessons(self, name: str, *, images: bool) -> list[Lesson]:
        """Read all examples with what was stored of them, of their images only if `images`.

        Raises:
            MemoryNotFound: There is no such memory.
        """

    @abstractmethod
    def duplicates(self, name: str, limit: int) -> list[list[str]]:
        """List examples that were taught with the very same file, at most `limit` groups."""

    @abstractmethod
    def claim_answer(self, claim: Claim) -> str | None:
        """Look up the answer to a request that came before; if there is none, claim to make it.

        Nobody else can, until the answer is kept or the claim is dropped or, as that of a process that was killed, has
        not been renewed for `CLAIM_SECONDS`.

        Returns:
            The answer, or None if the claim holds.

        Raises:
            MemoryNotFound: There is no such memory.
            MemoryConflict: The key came with another request.
            RequestUnderWay: Somebody else claims to make the answer.
        """

    @abstractmethod
    def renew_claim(self, claim: Claim) -> None:
        """Hold on to a claim for another `CLAIM_SECONDS`; it is left alone if it does not hold any more."""

    @abstractmethod
    def drop_claim(self, claim: Claim) -> None:
        """Drop a claim that has come to nothing, so that the request can be made again at once."""

    @abstractmethod
    def keep_answer(self, claim: Claim, answer: str) -> None:
        """Keep an answer for a day, if the claim to make it still holds.

        Forgetting leaves it, so it must not say anything of examples.
        """

    @abstractmethod
    def erased(self) -> bool:
        """Make sure that nothing of what was forgotten is left in a file; return False where that takes longer."""

    @abstractmethod
    def token(self) -> Hashable:
        """Get a value, at next to no cost, that is another one once anybody has written."""

    @abstractmethod
    def close(self) -> None:
        """Close all connections."""
