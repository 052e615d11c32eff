"""What is made of a batch at once is what each of its rows would have had alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from service.model_process.client import Reply
from service.models.batch_outputs import BatchOutputs, Row
from service.scores import best_labels, sigmoid, softmax

LABELS = [f"class {number}" for number in range(6)]
# Whole numbers, so that some are equal.
LOGITS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 5), st.just(len(LABELS))), elements=st.integers(-4, 4).map(float)
)


def rows(logits: np.ndarray, temperature: float | None = None) -> list[Row]:
    batch = BatchOutputs(Reply({"outputs": logits}, {}, 0.5), partial(softmax, temperature=temperature))
    return [Row(batch, place) for place in range(len(logits))]


@given(logits=LOGITS, temperature=st.sampled_from([None, 0.5, 3.0]), top_k=st.integers(1, 9))
def test_labels_of_a_row_are_those_of_its_logits_alone(
    logits: np.ndarray, temperature: float | None, top_k: int
) -> None:
    found = [row.best_labels(LABELS, top_k) for row in rows(logits, temperature)]
    alone = [best_labels(softmax(each[None], temperature), LABELS, top_k)[0] for each in logits]
    assert found == alone


@given(logits=LOGITS)
def test_values_of_a_row_are_the_models(logits: np.ndarray) -> None:
    for row, expected in zip(rows(logits), logits, strict=True):
        np.testing.assert_array_equal(row.values, expected[None])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_a_row_that_is_not_finite_does_not_touch_the_others(wrong: float) -> None:
    logits = np.zeros((3, len(LABELS)), np.float32)
    logits[1, 2] = wrong
    assert [row.finite for row in rows(logits)] == [True, False, True]


def test_probabilities_are_made_once_for_a_batch_and_only_if_wanted() -> None:
    made = []

    def probabilities(logits: np.ndarray) -> np.ndarray:
        made.append(len(logits))
        return sigmoid(logits)

    batch = BatchOutputs(Reply({"outputs": np.zeros((4, len(LABELS)), np.float32)}, {}, 0.5), probabilities)
    several = [Row(batch, place) for place in range(4)]
    assert all(row.finite for row in several)
    assert not made
    for row in several:
        row.best_labels(LABELS, 2)
    assert made == [4]
