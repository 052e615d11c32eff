"""What requests and answers about memories hold."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.http.problems import ProblemDocument
from service.http.v1.schemas import LabelScore, Timing
from service.memories.records import NOT, Example, Keep, Memory, Quotas, Start
from service.memories.results import Described

Readout = Literal["ridge", "hopfield", "associative", "prototype"]


class MemoryOptions(BaseModel):
    """How a memory is to be; what is left out is as it is by default."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="The model whose feature vectors it holds; null is the default one.")
    start: Start = Field(
        "nothing",
        description="What it knows at first: nothing, or what the model's associative head knows. Then the head's "
        "priors are its first examples, of source head, and it answers as the head does, by associative at its "
        "beta; nothing is called unknown, for priors are no images. Of the options only keep can be chosen.",
    )
    readout: Readout = Field("ridge", description="How labels are read out of the examples.")
    keep: Keep = Field(
        "thumbnail", description="What is stored of an image besides its feature vector; image allows to rebind."
    )
    unknown_level: float = Field(
        0.05, ge=0, lt=1, description="Share of known images that may be called unknown; 0 calls nothing so."
    )
    random_features: int = Field(0, ge=0, le=2048, description="Random features that ridge may use where they help.")
    seed: int = Field(0, ge=0, lt=2**32, description="Of the random features.")
    beta: float = Field(
        20.0, gt=0, le=1e4, description="Inverse temperature of hopfield and associative, and of prototype's scores."
    )

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        chosen = sorted(self.model_fields_set - {"model", "start", "keep"})
        if self.start == "head" and chosen:
            raise ValueError(f"start is head, which decides {', '.join(chosen)}. Leave that out.")
        return self


class Correction(BaseModel):
    """What an example shows, or what it does not: one of the two."""

    model_config = ConfigDict(extra="forbid")

    label: str | None = Field(None, description="What it shows.")
    not_: str | None = Field(None, alias="not", description="What it does not show, where it isn't said what it does.")


class MemoryLimits(BaseModel):
    """The most that a memory may hold."""

    examples: int
    labels: int
    bytes: int


class MemorySummary(BaseModel):
    """A memory of classes."""

    name: str = Field(examples=["pets"])
    model: str = Field(description="The model whose feature vectors it holds.")
    fingerprint: str = Field(description="SHA-256 of that model's weights and preprocessing.")
    readout: Readout
    keep: Keep
    unknown_level: float
    random_features: int
    seed: int
    beta: float
    created: datetime
    revision: int = Field(description="Grows with every change; the ETag.")
    examples: int
    bytes: int = Field(description="Of feature vectors and kept images.")


class MemoryDescription(MemorySummary):
    """A memory of classes with its labels."""

    labels: dict[str, int] = Field(description="Examples of each label.", examples=[{"cat": 5, "dog": 4}])
    negatives: dict[str, int] = Field(description="Examples that say of a label that it is not there.")
    limits: MemoryLimits


class MemoryList(BaseModel):
    """All memories by name."""

    memories: list[MemorySummary]


class ExampleDescription(BaseModel):
    """An example that a memory has been taught."""

    id: str
    label: str = Field(examples=["cat"])
    negative: bool = Field(description="True where the example says that it does not show the label.")
    source: str = Field(description="Where it comes from, as the client says.")
    taught_by: str = Field(description="Name of the API key; empty without one.")
    taught: datetime
    sha256: str = Field(description="Of the image file; empty if it came in a file of Python's.")
    revision: int = Field(description="Of the memory when the example last changed.")
    keeps: Keep = Field(description="What is stored of the image.")


class ExampleList(BaseModel):
    """Examples by id."""

    examples: list[ExampleDescription]
    next: str | None = Field(description="Value of `after` for those that follow; null if there are none.")


class TaughtExample(BaseModel):
    """What became of an image that was taught."""

    id: str
    label: str
    negative: bool = Field(description="Whether the label is what it does not show.")
    outcome: Literal["created", "replaced", "unchanged"]
    revision: int


class TaughtItem(BaseModel):
    """What became of one of many images."""

    index: int = Field(description="Place in the request, from 0.")
    name: str = Field(description="The file's name, as the client calls it.")
    id: str = Field(description="Of the example; empty if it was refused before it got one.")
    label: str
    outcome: Literal["created", "replaced", "unchanged", "refused"]
    problem: ProblemDocument | None = Field(None, description="Why it was refused; else null.")


class TaughtMany(BaseModel):
    """What became of many images."""

    revision: int
    stored: int
    refused: int
    results: list[TaughtItem]


class Forgotten(BaseModel):
    """How many examples were forgotten."""

    revision: int
    forgotten: int


class EvidenceItem(BaseModel):
    """An example near the image."""

    id: str
    label: str
    negative: bool = Field(description="True where it says that it does not show the label.")
    similarity: float = Field(description="Cosine of the feature vectors, from -1 to 1.")
    weight: float = Field(description="What it adds to the label's score, before calibration.")
    thumbnail: bool = Field(description="Whether GET …/examples/{id}?image=thumbnail gives an image.")


class Counterfactual(BaseModel):
    """What would be answered if the example that adds most were forgotten."""

    id: str
    label: str | None = Field(description="null if nothing would be left.")


class Recollection(BaseModel):
    """What a memory says of one image."""

    index: int = Field(description="Place of the image in the request, from 0.")
    labels: list[LabelScore]
    unknown: bool | None = Field(
        description="Whether the image is like nothing that was taught; null where that cannot be promised yet."
    )
    p_value: float | None = Field(
        description="Share of the examples that lie at least as far from their nearest as the image does; it is "
        "unknown where that is at most the memory's level."
    )
    reason: str = Field(description="Why `unknown` is null; else empty.")
    evidence: list[EvidenceItem] = Field(description="The nearest examples, the most similar first.")
    without_strongest: Counterfactual | None = Field(
        description="null where none of the five nearest examples has the best label, or negative ones take part."
    )


class Recollections(BaseModel):
    """What a memory says of the images of a request."""

    memory: str
    model: str
    revision: int
    unknown_level: float
    calibrated: bool = Field(
        description="Whether scores are shares of right answers, by leaving out every example in turn."
    )
    predictions: list[Recollection]
    timing_ms: Timing


class LabelState(BaseModel):
    """One label of a memory."""

    label: str
    examples: int
    negatives: int
    accuracy: float | None = Field(description="Share told right when left out; null where that can't be judged.")
    margin_snr: float | None = Field(
        description="Squared mean over variance of ridge's margin for them when left out, below 0 where the mean is."
    )


class Confusions(BaseModel):
    """Examples of a label that are taken for another."""

    label: str
    taken_for: str
    examples: int


class DoubtfulExample(BaseModel):
    """An example that the others would label otherwise."""

    id: str
    label: str
    taken_for: str
    margin: float


class NearDuplicates(BaseModel):
    """Two examples that the model all but takes for the same image."""

    ids: list[str]
    labels: list[str]
    similarity: float


class Recommendation(BaseModel):
    """A label that more images would help."""

    label: str
    reason: str


class MemoryHealth(BaseModel):
    """What a memory confuses and doubts, and how full it is."""

    memory: str
    revision: int
    examples: int
    limits: MemoryLimits
    bytes: int
    judged: int = Field(description="Examples that were left out in turn: of labels that have several.")
    accuracy: float | None = Field(description="Share of these that the memory's own readout tells right.")
    width: int = Field(description="Numbers in a feature vector that ridge uses; 0 while there are no examples.")
    effective_dimension: float = Field(description="How many of these the examples fill.")
    regularisation: float | None = Field(description="Ridge's lambda; null while there are no examples.")
    random_features: int = Field(
        description="Random features that ridge uses; 0 where it uses the features themselves."
    )
    labels: list[LabelState]
    confusions: list[Confusions]
    doubts: list[DoubtfulExample]
    same_file: list[list[str]] = Field(description="Examples that were taught with the very same file.")
    compared: int = Field(description="Examples that were compared with each other, for near-duplicates.")
    near_duplicates: list[NearDuplicates]
    advice: list[Recommendation]


class Verification(BaseModel):
    """A memory built anew from the store beside the one that answers."""

    revision: int
    digest: str = Field(description="SHA-256 over all examples, the same for every order of them.")
    equal: bool = Field(description="Whether both are the same to the bit.")
    erased: bool = Field(description="Whether nothing of what was forgotten is left in a file of the store.")


def summary(memory: Memory) -> MemorySummary:
    """Describe a memory."""
    return MemorySummary(**_members(memory))


def description(described: Described, quotas: Quotas) -> MemoryDescription:
    """Describe a memory with its labels."""
    labels = described.labels
    return MemoryDescription(
        **_members(described.memory),
        labels={label: count for label, count in labels.items() if not label.startswith(NOT)},
        negatives={label.removeprefix(NOT): count for label, count in labels.items() if label.startswith(NOT)},
        limits=limits(quotas),
    )


def limits(quotas: Quotas) -> MemoryLimits:
    """Describe the limits of a memory."""
    return MemoryLimits(examples=quotas.examples, labels=quotas.labels, bytes=quotas.bytes)


def example_description(example: Example) -> ExampleDescription:
    """Describe an example."""
    return ExampleDescription(
        id=example.id,
        label=example.label.removeprefix(NOT),
        negative=example.label.startswith(NOT),
        source=example.source,
        taught_by=example.teacher,
        taught=_time(example.created),
        sha256=example.sha256,
        revision=example.revision,
        keeps=example.keeps,
    )


def _members(memory: Memory) -> dict[str, Any]:
    options = memory.options
    return {
        "name": memory.name,
        "model": memory.binding.model,
        "fingerprint": memory.binding.fingerprint,
        "readout": options.readout,
        "keep": options.keep,
        "unknown_level": options.unknown_level,
        "random_features": options.random_features,
        "seed": options.seed,
        "beta": options.beta,
        "created": _time(memory.created),
        "revision": memory.revision,
        "examples": memory.examples,
        "bytes": memory.bytes,
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
