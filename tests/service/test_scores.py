"""From logits to labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from service.scores import best_labels, highest, sigmoid, softmax

LOGITS = np.array([[1.0, 3.0, 2.0, 3.0], [-100.0, 100.0, 0.0, 0.0]], np.float32)


@pytest.mark.parametrize("temperature", [None, 0.5, 2.0])
def test_probabilities_are_those_of_torch(temperature: float | None) -> None:
    expected = (torch.from_numpy(LOGITS) / (temperature or 1.0)).softmax(-1).numpy()
    probabilities = softmax(LOGITS, temperature)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities, expected, rtol=1e-6, atol=1e-9)


def test_the_first_of_equals_comes_first() -> None:
    assert highest(LOGITS, 3).tolist() == [[1, 3, 2], [1, 2, 3]]
    assert highest(LOGITS, 9).shape == (2, 4)


def test_labels_go_with_their_scores() -> None:
    probabilities = np.array([[0.25, 0.6543211, 0.0956789]])
    assert best_labels(probabilities, ["a", "b", "c"], 2) == [[("b", 0.654321), ("a", 0.25)]]


def test_classes_that_do_not_exclude_each_other_have_probabilities_of_their_own() -> None:
    logits = np.array([[0.0, 3.0, -800.0], [800.0, 0.0, 1.0]], np.float32)
    expected = [[0.5, 1 / (1 + math.exp(-3)), 0.0], [1.0, 0.5, 1 / (1 + math.exp(-1))]]
    np.testing.assert_allclose(sigmoid(logits), expected, atol=1e-6)
    assert sigmoid(logits).dtype == np.float32
