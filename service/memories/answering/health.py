"""What a memory can tell about itself: what it confuses, what it doubts, and where more images would help."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Final

import numpy as np

from ait_lite.class_memory import Fullness
from ait_lite.class_memory.features import SCALE
from ait_lite.class_memory.head import is_prior
from ait_lite.wording import counted
from service.memories.answering.index import State
from service.memories.records import NOT

_JUDGED: Final = 4096  # examples that are left out in turn
_COMPARED: Final = 2048  # examples that are compared with each other
_LISTED: Final = 20
_NEAR: Final = 0.995  # cosine from which two images are all but the same to the model
_FEW: Final = 5
_GOOD: Final = 0.8


@dataclass(frozen=True)
class LabelHealth:
    """One label.

    Attributes:
        label: The label.
        examples: Examples of it.
        negatives: How many say what it is not.
        accuracy: Share that is told right when left out; None with one example, which nothing else tells of.
        margin_snr: Squared mean over variance of the margin by which ridge tells its examples when left out, with the
            sign of the mean; None where that has no variance.
    """

    label: str
    examples: int
    negatives: int
    accuracy: float | None
    margin_snr: float | None


@dataclass(frozen=True)
class Confusion:
    """How many examples of a label are taken for another when left out."""

    label: str
    taken_for: str
    examples: int


@dataclass(frozen=True)
class Doubt:
    """An example that the others would label otherwise, by so much of a margin."""

    id: str
    label: str
    taken_for: str
    margin: float


@dataclass(frozen=True)
class Twins:
    """Two examples that are all but the same to the model."""

    ids: tuple[str, str]
    labels: tuple[str, str]
    similarity: float


@dataclass(frozen=True)
class Advice:
    """A label that more images would help, and why."""

    label: str
    reason: str


@dataclass(frozen=True)
class Health:
    """The health of a memory.

    Attributes:
        fullness: How much of its capacity is used; None if it is empty.
        judged: Examples that were left out in turn: of labels that have several.
        accuracy: Share of these that are told right; None where there is nothing to tell apart.
        labels: Every label.
        confusions: The most frequent first.
        doubts: The strongest first.
        compared: Examples that were compared with each other, for near-duplicates.
        near_duplicates: The most alike first.
        advice: Which labels to teach more.
    """

    fullness: Fullness | None
    judged: int
    accuracy: float | None
    labels: list[LabelHealth]
    confusions: list[Confusion]
    doubts: list[Doubt]
    compared: int
    near_duplicates: list[Twins]
    advice: list[Advice]


def examine(state: State) -> Health:
    """Examine a memory. Priors that it has begun with are no images, and are not judged as if they were."""
    content, reading = state.content, state.reading
    counts = content.counts
    if not reading.labels:
        return Health(None, 0, None, [], [], [], 0, [], [])
    fullness = content.fullness()
    ids, scores = reading.leave_one_out(_JUDGED)
    several = [index for index, each in enumerate(ids) if counts[content.label_of(each)] > 1 and not is_prior(each)]
    ids, scores = [ids[index] for index in several], scores[several]
    begun_with = {content.label_of(each) for each in content.ids() if is_prior(each)}
    own = reading.own_places(ids)
    winners = scores.argmax(axis=1) if len(ids) else np.empty(0, np.int64)
    right, judged = Counter[int](), Counter(own.tolist())
    confused: Counter[tuple[int, int]] = Counter()
    doubts = []
    for index, (mine, winner) in enumerate(zip(own.tolist(), winners.tolist(), strict=True)):
        if mine == winner:
            right[mine] += 1
            continue
        confused[mine, winner] += 1
        margin = float(scores[index, winner] - scores[index, mine])
        doubts.append(Doubt(ids[index], reading.labels[mine], reading.labels[winner], round(margin, 6)))
    compared = [each for each in content.ids() if not is_prior(each)][:_COMPARED]
    labels = [
        LabelHealth(
            label,
            counts[label],
            counts.get(NOT + label, 0),
            right[place] / judged[place] if judged[place] and len(reading.labels) > 1 else None,
            _finite(fullness.margin_snr[label]),
        )
        for place, label in enumerate(reading.labels)
    ]
    return Health(
        fullness=fullness,
        judged=len(ids),
        accuracy=sum(right.values()) / len(ids) if ids and len(reading.labels) > 1 else None,
        labels=labels,
        confusions=[
            Confusion(reading.labels[mine], reading.labels[other], count)
            for (mine, other), count in sorted(confused.items(), key=lambda item: (-item[1], item[0]))[:_LISTED]
        ],
        doubts=sorted(doubts, key=lambda doubt: (-doubt.margin, doubt.id))[:_LISTED],
        compared=len(compared),
        near_duplicates=_twins(state, compared),
        advice=[advice for label in labels if label.label not in begun_with and (advice := _advise(label))],
    )


def _advise(label: LabelHealth) -> Advice | None:
    if label.examples < _FEW:
        return Advice(
            label.label, f"It has {counted(label.examples, 'example')}; from {_FEW} on its answers get steady."
        )
    if label.accuracy is not None and label.accuracy < _GOOD:
        return Advice(label.label, f"{label.accuracy:.0%} of its examples are told right without themselves.")
    return None


def _finite(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def _twins(state: State, ids: list[str]) -> list[Twins]:
    keys = (state.content.keys(ids) / SCALE).astype(np.float32)
    cosines = np.triu(keys @ keys.T, k=1)
    first, second = np.nonzero(cosines > _NEAR)
    order = np.argsort(-cosines[first, second], kind="stable")[:_LISTED]
    return [
        Twins(
            (ids[first[index]], ids[second[index]]),
            (state.content.label_of(ids[first[index]]), state.content.label_of(ids[second[index]])),
            round(float(cosines[first[index], second[index]]), 6),
        )
        for index in order
    ]
