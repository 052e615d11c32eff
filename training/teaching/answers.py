"""What memories of classes say, wherever they are."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Taught:
    """What teaching changed.

    Attributes:
        added: New examples.
        relabelled: Images that were stored under another label.
        known: Images that were stored with this label already.
        skipped: Files that could not be read, with the reason.
        examples: Examples in the memory now.
        labels: Number of examples per label now.
    """

    added: int
    relabelled: int
    known: int
    skipped: tuple[str, ...]
    examples: int
    labels: dict[str, int]


@dataclass(frozen=True)
class Listed:
    """An example that a memory holds.

    Attributes:
        id: Its identifier.
        label: Its label.
        negative: True where it says that it does not show the label.
        source: Where it comes from: in a folder the image file when it was taught, on a server what the client said.
        sha256: Of the image file, in hexadecimal; empty if it came in a memory's file.
        time: When it was taught, ISO 8601 in UTC.
    """

    id: str
    label: str
    negative: bool
    source: str
    sha256: str
    time: str


@dataclass(frozen=True)
class EvidenceFile:
    """A taught image that resembles the one asked about.

    Attributes:
        id: Its identifier.
        label: Its label.
        path: Where it was when it was taught.
        similarity: Cosine of its features with those of the image asked about.
        weight: What it adds to the score of its label; below 0 if it is a negative one.
        negative: True where it says that it does not show the label.
    """

    id: str
    label: str
    path: str
    similarity: float
    weight: float
    negative: bool = False


@dataclass(frozen=True)
class Recalled:
    """What a memory says to one image.

    Attributes:
        path: The image.
        labels: (label, score), the highest first.
        unknown: True where the image resembles the taught ones less than they resemble each other; None where the
            memory cannot tell.
        reason: Why it cannot; else empty.
        p_value: Share of the taught examples that are at least as far from the others; None of an empty memory.
        resolution: The smallest p-value that this many examples can give.
        evidence: The most similar taught images.
        strongest: Identifier of the example that speaks most for the first label, if there is one.
        strongest_path: The file that it was taught from, where that is known.
        label_without_strongest: The label without that example.
        error: Why the file could not be used, in place of all this.
    """

    path: str
    labels: tuple[tuple[str, float], ...] = ()
    unknown: bool | None = None
    reason: str = ""
    p_value: float | None = None
    resolution: float | None = None
    evidence: tuple[EvidenceFile, ...] = ()
    strongest: str | None = None
    strongest_path: str = ""
    label_without_strongest: str | None = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the same as what JSON can hold."""
        told = asdict(self)
        told["labels"] = [{"label": label, "score": score} for label, score in self.labels]
        return told
