"""What the memories of a server answer."""

from __future__ import annotations

from dataclasses import dataclass

from service.errors import ServiceError
from service.memories.answering.reading import Answer
from service.memories.records import Memory, Outcome


@dataclass(frozen=True)
class Described:
    """A memory with the number of examples of each label."""

    memory: Memory
    labels: dict[str, int]


@dataclass(frozen=True)
class Recalled:
    """Answers at a revision; `shown` are the examples of the evidence that have a thumbnail.

    `seconds` is how long the memory took, for these and for those that it answered together with them.
    """

    memory: Memory
    calibrated: bool
    answers: list[Answer]
    shown: frozenset[str]
    seconds: float


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
