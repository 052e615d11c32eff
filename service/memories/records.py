"""What the store of the memories holds."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from ait_lite.class_memory import READOUTS
from ait_lite.class_memory.negatives import NEGATIVE
from service.errors import MemoryInvalid, RevisionNotReached, StaleRevision

Keep = Literal["nothing", "thumbnail", "image"]
Start = Literal["nothing", "head"]
Outcome = Literal["created", "replaced", "unchanged"]

# A negative example, "this is no cat", is stored under the label "¬cat".
NOT: Final = NEGATIVE

# The revision to expect of a memory that must be there, at whatever revision; no client can name one below 0.
PRESENT: Final = -1
# And of one that must not be there.
ABSENT: Final = -2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_ID: Final = 256
_LONGEST_LABEL: Final = 100
_MOST_RANDOM_FEATURES: Final = 2048  # solving for more takes longer than a client waits


@dataclass(frozen=True)
class Options:
    """How a memory answers, and what it keeps.

    Attributes:
        readout: One of `ait_lite.class_memory.READOUTS`.
        random_features: Random ReLU features that ridge may use.
        seed: Of the random features.
        beta: Inverse temperature of both Hopfield readouts.
        unknown_level: Share of known images that may be called unknown.
        keep: What is stored of an image besides its key.
    """

    readout: str = "ridge"
    random_features: int = 0
    seed: int = 0
    beta: float = 20.0
    unknown_level: float = 0.05
    keep: Keep = "thumbnail"

    def check(self) -> None:
        """Check that the options are in range.

        Raises:
            MemoryInvalid: One is not.
        """
        if self.readout not in READOUTS:
            raise MemoryInvalid(f"readout is one of {', '.join(READOUTS)}.")
        if not 0 <= self.random_features <= _MOST_RANDOM_FEATURES:
            raise MemoryInvalid(f"random_features is between 0 and {_MOST_RANDOM_FEATURES:,}.")
        if not 0 <= self.seed < 2**32:
            raise MemoryInvalid("seed is between 0 and 2^32 - 1.")
        if not (math.isfinite(self.beta) and 0 < self.beta <= 1e4):
            raise MemoryInvalid("beta is above 0 and at most 10,000.")
        if not 0 <= self.unknown_level < 1:
            raise MemoryInvalid("unknown_level is at least 0 and below 1.")


@dataclass(frozen=True)
class Binding:
    """The model whose feature vectors a memory holds.

    Attributes:
        model: Its name.
        fingerprint: Of its weights and preprocessing.
        dim: Width of a feature vector.
        centre: What is subtracted of feature vectors, as little-endian float64; None for nothing.
    """

    model: str
    fingerprint: str
    dim: int
    centre: bytes | None = None


@dataclass(frozen=True)
class Memory:
    """A memory as the store describes it.

    Attributes:
        number: Its own for ever: another memory of the same name has another.
        name: What clients call it.
        options: How it answers.
        binding: Its model.
        created: Unix time.
        revision: Of its last change; revisions grow over all memories of a store.
        examples: How many it holds.
        bytes: Of keys and kept images.
    """

    number: int
    name: str
    options: Options
    binding: Binding
    created: float
    revision: int
    examples: int
    bytes: int


@dataclass(frozen=True)
class Lesson:
    """An example that is to be stored.

    Attributes:
        id: Of the example.
        label: Its label; with `NOT` before it, what it is not.
        key: Integer key, little-endian int16.
        sha256: Of the image file, in hexadecimal; empty where the image was never seen.
        source: Where the client says that it comes from.
        teacher: Name of the API key that taught it.
        thumbnail: A small JPEG of it, if kept.
        image: The file, if kept.
        taught: Unix time when it was taught; None is when it is stored.
    """

    id: str
    label: str
    key: bytes
    sha256: str = ""
    source: str = ""
    teacher: str = ""
    thumbnail: bytes | None = None
    image: bytes | None = None
    taught: float | None = None

    @property
    def size(self) -> int:
        """Bytes that count towards the memory's limit."""
        return len(self.key) + len(self.thumbnail or b"") + len(self.image or b"")


@dataclass(frozen=True)
class Row:
    """An example as answering needs it."""

    number: int
    id: str
    label: str
    key: bytes
    shown: bool  # whether there is a thumbnail
    revision: int  # of its last change


@dataclass(frozen=True)
class Example:
    """An example as it is listed; `keeps` says what is stored of its image."""

    id: str
    label: str
    source: str
    teacher: str
    sha256: str
    created: float
    revision: int
    keeps: Keep


@dataclass(frozen=True)
class Changes:
    """A memory, and those of its examples that have changed since some revision."""

    memory: Memory
    rows: list[Row]


@dataclass(frozen=True)
class Selection:
    """Which examples are meant: exactly one of the three is set."""

    id: str | None = None
    label: str | None = None
    source: str | None = None

    @property
    def column(self) -> str:
        """The column that is compared."""
        return "id" if self.id is not None else "label" if self.label is not None else "source"

    @property
    def values(self) -> tuple[str, str]:
        """What it is compared with, of which one has to be there: a label as it is written, and as it was taught."""
        value = self.id or self.label or self.source or ""
        return value, value if self.label is None else composed_label(value)

    def __str__(self) -> str:
        return f"{self.column} {self.values[0][:100]!r}"


@dataclass(frozen=True)
class Claim:
    """That somebody makes the answer to a request with an idempotency key.

    Attributes:
        memory: Name of the memory that is asked.
        key: The idempotency key.
        digest: Of the request.
        token: Of this claim alone.
    """

    memory: str
    key: str
    digest: str
    token: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What finds it in the store."""
        return self.memory, self.key, self.token


@dataclass(frozen=True)
class Quotas:
    """Most memories of a store, and most examples, labels and bytes of each."""

    memories: int
    examples: int
    labels: int
    bytes: int


def check_revision(memory: Memory, expected: int | None) -> None:
    """Check that a memory is at the revision that is expected, if one is.

    Raises:
        StaleRevision: It is at another one, or was not to be there.
    """
    if expected == ABSENT:
        raise StaleRevision(f"There is a memory {memory.name!r} already. Choose another name.")
    if expected not in (None, PRESENT, memory.revision):
        raise StaleRevision(
            f"Memory {memory.name!r} is at revision {memory.revision}, not {expected}. Look at it again, then decide."
        )


def check_reached(memory: Memory, revision: int | None) -> None:
    """Check that a memory has reached a revision, if one is asked for.

    Raises:
        RevisionNotReached: It has not.
    """
    if revision is not None and memory.revision < revision:
        raise RevisionNotReached(
            f"Memory {memory.name!r} is at revision {memory.revision}; {revision} is not there yet."
        )


def check_name(name: str) -> str:
    """Check the name of a memory and return it.

    Raises:
        MemoryInvalid: It has other characters, or is too long.
    """
    if not _NAME.fullmatch(name):
        raise MemoryInvalid(
            "A memory's name has up to 64 letters, digits and . _ -, and begins with one of the first."
        )
    return name


def check_id(identifier: str) -> str:
    """Check the identifier of an example and return it.

    Raises:
        MemoryInvalid: It is empty, too long, or could not stand in a path.
    """
    if not identifier or len(identifier) > _LONGEST_ID or not _is_printable(identifier):
        raise MemoryInvalid(f"An example's id has up to {_LONGEST_ID} characters, none of them for control.")
    if any(part in ("", ".", "..") for part in identifier.split("/")):
        raise MemoryInvalid("An example's id has something between its slashes, and neither . nor .. alone.")
    return identifier


def check_label(label: str) -> str:
    """Check a label; return it in Unicode's composed form, so that what looks the same is the same.

    Raises:
        MemoryInvalid: It is empty, too long, or has characters that are not for reading.
    """
    return check_text(composed_label(label), "A label", empty=False)


def stored_label(label: str, *, negative: bool) -> str:
    """Check a label as `check_label` does; write it as it is stored, which says whether it is what is not shown.

    Raises:
        MemoryInvalid: As `check_label`.
    """
    return (NOT if negative else "") + check_label(label)


def composed_label(label: str) -> str:
    """Write a label in Unicode's composed form and without space around it."""
    return unicodedata.normalize("NFC", label).strip()


def check_text(text: str, what: str, *, empty: bool = True) -> str:
    """Check a label or source and return it.

    Raises:
        MemoryInvalid: It is too long, or has characters that are not for reading.
    """
    if not empty and not any(_is_visible(each) for each in text):
        raise MemoryInvalid(f"{what} is missing or empty.")
    if len(text) > _LONGEST_LABEL or not _is_printable(text):
        raise MemoryInvalid(f"{what} has up to {_LONGEST_LABEL} characters, none of them for control.")
    if text.startswith(NOT):
        raise MemoryInvalid(f"{what} does not begin with {NOT}, which says what an example is not.")
    return text


def _is_visible(character: str) -> bool:
    # Spaces, and what only changes how others are drawn.
    return unicodedata.category(character) not in ("Zs", "Zl", "Zp", "Cf")


def _is_printable(text: str) -> bool:
    return not any(unicodedata.category(each) in ("Cc", "Cs", "Cn", "Co") for each in text)
