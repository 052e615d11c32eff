"""Scores of a memory are shares of right answers, as far as its examples can tell."""

from __future__ import annotations

import numpy as np
import pytest

from ait_lite.class_memory import ClassMemory
from ait_lite.class_memory.features import quantise
from service.memories.answering.reading import Reading

DIM = 16


def drawn(count: int, noise: float, seed: int) -> tuple[np.ndarray, list[str]]:
    """Vectors around three directions, which noise may take to another, and their labels."""
    random = np.random.default_rng(seed)
    own = np.arange(count) % 3
    vectors = 4 * np.eye(DIM)[own] + noise * random.standard_normal((count, DIM))
    return vectors, [f"class {each}" for each in own]


def told(examples: int, noise: float) -> tuple[float, float]:
    """The mean best score of images that were not taught, and the share of them that is told right."""
    memory = ClassMemory(DIM)
    vectors, labels = drawn(examples, noise, seed=1)
    memory.write([str(index) for index in range(examples)], vectors, labels)
    asked, truth = drawn(600, noise, seed=2)
    answers = Reading(memory).answers(quantise(asked), evidence=1, top_k=1)
    best = [answer.labels[0] for answer in answers]
    right = [label == own for (label, _), own in zip(best, truth, strict=True)]
    return float(np.mean([score for _, score in best])), float(np.mean(right))


@pytest.mark.parametrize("noise", [1.5, 2.5, 4.0])
def test_scores_are_near_the_share_of_right_answers(noise: float) -> None:
    score, right = told(600, noise)
    assert score == pytest.approx(right, abs=0.1)


@pytest.mark.parametrize("examples", [21, 30, 60])
def test_few_examples_are_no_reason_to_be_sure(examples: int) -> None:
    score, right = told(examples, 0.3)
    assert right == 1.0
    wrong = 1 / (examples + 2)
    assert 0.3 * wrong < 1 - score < 2 * wrong  # temperatures are tried in steps
