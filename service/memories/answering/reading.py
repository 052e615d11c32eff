"""From the scores of a memory to labels: negative examples, calibration, and when a query is unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np

from ait_lite.class_memory import ClassMemory
from ait_lite.class_memory.negatives import NegativeLabels
from service.memories.records import NOT
from service.scores import Labels, best_labels, softmax

# Examples that judge the temperature, and the fewest of them that can.
_JUDGES: Final = 1024
_FEWEST_JUDGES: Final = 20
_UNCALIBRATED: Final = 0.2  # between regression scores, which are near 0 and 1
_TEMPERATURES: Final = tuple(0.02 * 1.15**step for step in range(36))


class Seen(NamedTuple):
    """An example that carried an answer.

    Attributes:
        id: Of the example.
        label: Its label; of a negative one, what it is not.
        negative: Whether it is a negative one.
        similarity: Cosine with the query.
        weight: What it adds to the score of its label, before calibration; below 0 for a negative one.
    """

    id: str
    label: str
    negative: bool
    similarity: float
    weight: float


@dataclass(frozen=True)
class Answer:
    """The answer of a memory to one query.

    Attributes:
        labels: The best labels with their scores.
        p_value: Share of the stored examples whose nearest other is at least as far as the query's; None if the
            memory is empty.
        unknown: Whether the query is like nothing that was taught; None where that cannot be promised.
        reason: Why it cannot; else empty.
        evidence: The nearest examples.
        strongest: The one that adds most to the best label, among the five nearest, however many the evidence is; None
            if none of them does, or negative examples take part.
        without_strongest: The best label if it were forgotten; None likewise, and where nothing would be left.
    """

    labels: Labels
    p_value: float | None
    unknown: bool | None
    reason: str
    evidence: list[Seen]
    strongest: str | None = None
    without_strongest: str | None = None


class Reading:
    """How scores of a memory are read while its examples stay as they are."""

    def __init__(self, content: ClassMemory) -> None:
        """Take the examples."""
        self._content = content
        self._negatives = NegativeLabels(content.labels)
        self.labels = self._negatives.labels

    @cached_property
    def calibrated(self) -> bool:
        """True where scores are shares of right answers, judged by leaving out each example in turn."""
        # The only example of a label can't be told without it, whatever the temperature.
        counts = self._content.counts
        judges = sum(counts[label] for label in self.labels if counts[label] > 1)
        return self._content.readout == "ridge" and len(self.labels) > 1 and judges >= _FEWEST_JUDGES

    def logits(self, scores: np.ndarray) -> np.ndarray:
        """Read scores of all labels, (n, all labels), as logits of `labels`, float32 (n, C).

        Their softmax are the scores of an answer.
        """
        scores = self._negatives.fold(scores)
        if self._content.readout == "ridge":
            scores = scores / (self._temperature or _UNCALIBRATED)
        elif self._content.readout in ("hopfield", "associative"):
            scores = np.log(np.maximum(scores, 1e-12))
        else:
            scores = scores * self._content.beta
        return scores.astype(np.float32)

    def answers(self, keys: np.ndarray, *, evidence: int, top_k: int) -> list[Answer]:
        """Answer integer keys (n, d)."""
        if not len(self._content):
            return [Answer([], None, None, self._content.unpromised, [])] * len(keys)
        recalls = self._content.recall_keys(keys, evidence=evidence)
        if self.labels:
            scores = np.stack([each.scores for each in recalls])
            named = best_labels(softmax(self.logits(scores)), self.labels, top_k)
        else:
            named = [[] for _ in recalls]
        reason = self._content.unpromised
        return [
            Answer(
                labels=labels,
                p_value=recall.p_value,
                unknown=None if reason else recall.unknown,
                reason=reason,
                evidence=[_seen(*each) for each in recall.evidence],
                strongest=recall.strongest,
                without_strongest=recall.label_without_strongest,
            )
            for recall, labels in zip(recalls, named, strict=True)
        ]

    def own_places(self, ids: Sequence[str]) -> np.ndarray:
        """Look up the places of examples' own labels among `labels`, shape (n,); -1 for negative ones."""
        place = {label: index for index, label in enumerate(self.labels)}
        return np.array([place.get(self._content.label_of(each), -1) for each in ids], dtype=np.int64)

    def leave_one_out(self, most: int) -> tuple[list[str], np.ndarray]:
        """Predict positive examples as if each had never been taught: identifiers, and scores (n, C) of `labels`."""
        ids, scores = self._content.leave_one_out(most)
        chosen = np.flatnonzero(self.own_places(ids) >= 0)
        return [ids[index] for index in chosen], self._negatives.fold(scores[chosen])

    @cached_property
    def _temperature(self) -> float | None:
        """The one with the highest likelihood where each example is left out in turn; None with too few of them.

        As if one more than the examples had been told wrong: none of a few is no reason to be sure of the next (the
        smoothed targets of Platt, Probabilistic outputs for support vector machines, 1999).
        """
        if not self.calibrated:
            return None
        counts = self._content.counts
        ids, scores = self.leave_one_out(_JUDGES)
        own = self.own_places(ids)
        judged = np.array([counts[self.labels[place]] > 1 for place in own], dtype=bool)
        if not judged.any():
            return None
        scores, own = scores[judged], own[judged]
        losses = [_loss(scores / temperature, own) for temperature in _TEMPERATURES]
        return _TEMPERATURES[int(np.argmin(losses))]


def _loss(logits: np.ndarray, own: np.ndarray) -> float:
    """Mean loss of logits (n, C), C above 1, where own labels (n,) are right in all but one of n + 2 answers."""
    count, labels = logits.shape
    logits = logits - logits.max(axis=1, keepdims=True)
    chosen = logits[np.arange(count), own]
    others = (logits.sum(axis=1) - chosen) / (labels - 1)
    wrong = 1.0 / (count + 2)
    return float((np.log(np.exp(logits).sum(axis=1)) - (1.0 - wrong) * chosen - wrong * others).mean())


def _seen(identifier: str, label: str, similarity: float, weight: float) -> Seen:
    negative = label.startswith(NOT)
    return Seen(identifier, label.removeprefix(NOT), negative, similarity, -weight if negative else weight)
