"""A graph answers in place of the model only if what people get is the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ait_lite.checkpoint import CheckpointError
from ait_lite.runtimes import Agreement, Answering, Outputs, compare, compare_graph

MANY = Answering(thresholds=(0.5,))


def outputs(logits: np.ndarray, features: np.ndarray | None = None) -> Outputs:
    return Outputs(np.asarray(logits, np.float32), features)


def clear(images: int, classes: int = 3) -> np.ndarray:
    """Logits that leave no doubt."""
    return 10.0 * np.eye(classes)[np.arange(images) % classes]


class Recited:
    """A graph that finds its answers by the number of an image, which its pixels hold."""

    piece = 1

    def __init__(self, answer: Callable[[np.ndarray], np.ndarray]) -> None:
        self._answer = answer
        self.sizes: list[int] = []

    def __call__(self, pixels: np.ndarray) -> Outputs:
        self.sizes.append(len(pixels))
        return outputs(self._answer(pixels[:, 0, 0, 0].astype(int)))


def numbered(images: int) -> np.ndarray:
    return np.arange(images, dtype=np.float32).reshape(-1, 1, 1, 1)


@pytest.mark.parametrize(("off", "enough"), [(0.0009, True), (0.0011, False), (np.nan, False)])
def test_fp32_is_equal_to_a_thousandth(off: float, enough: bool) -> None:
    logits = clear(5)
    wrong = logits.copy()
    wrong[3, 1] += off
    assert compare(outputs(logits), outputs(wrong)).enough("fp32") is enough
    features = np.ones((5, 4), np.float32)
    for scale in (1.0, 100.0):  # of features the difference is a share of the largest
        moved = (features * scale).copy()
        moved[2, 2] += off * scale
        found = compare(outputs(logits, features * scale), outputs(logits, moved))
        assert found.enough("fp32") is enough


@pytest.mark.parametrize("precision", ["bf16", "int8"])
@pytest.mark.parametrize(("wrong", "enough"), [(0, True), (1, True), (2, False)])
def test_of_a_hundred_labels_one_may_be_another(precision: str, wrong: int, enough: bool) -> None:
    logits = 0.004 * clear(100)  # hardly sure: the probabilities are alike all the same
    other = logits.copy()
    other[:wrong] = np.roll(logits[:wrong], 1, axis=1)
    found = compare(outputs(logits), outputs(other))
    assert (found.same_label, found.enough(precision)) == (pytest.approx(1 - wrong / 100), enough)


@pytest.mark.parametrize(("temperature", "enough"), [(None, False), (100.0, True)])
def test_probabilities_are_compared_as_they_are_told(temperature: float | None, enough: bool) -> None:
    logits = np.tile([2.0, 0.0, 0.0], (100, 1))
    found = compare(outputs(logits), outputs(logits * 1.1), Answering(temperature))
    assert found.same_label == 1.0
    assert found.enough("bf16") is enough
    assert not compare(outputs(logits), outputs(logits * np.nan), Answering(temperature)).enough("bf16")


def test_of_any_number_of_classes_those_that_are_told_count() -> None:
    both = np.tile([4.0, 3.9, -5.0], (50, 1))
    swapped = np.tile([3.9, 4.0, -5.0], (50, 1))
    assert not compare(outputs(both), outputs(swapped)).enough("bf16")  # if one excluded the other
    assert compare(outputs(both), outputs(swapped), MANY).enough("bf16")
    # Softmax sees no difference where all logits have moved: here every image is of a class more.
    none = np.tile([-0.2, -0.4, -0.6], (50, 1))
    moved = none + 0.3
    assert compare(outputs(none), outputs(moved)).enough("bf16")
    assert compare(outputs(none), outputs(moved), MANY).same_label == 0.0
    assert not compare(outputs(none), outputs(moved), MANY).enough("bf16")
    # The probability of a class that is not the best may be off too.
    less = np.tile([4.0, 1.0, -5.0], (50, 1))
    assert not compare(outputs(np.tile([4.0, 2.0, -5.0], (50, 1))), outputs(less), MANY).enough("int8")
    picky = Answering(thresholds=(0.5, 0.9, 0.5))
    assert (
        compare(outputs(np.array([[4.0, 2.19, -5.0]])), outputs(np.array([[4.0, 2.2, -5.0]])), picky).same_label == 0
    )


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_each_image_counts_once_however_often_it_is_run(precision: str) -> None:
    logits = clear(200)
    graph = Recited(lambda rows: np.where(rows[:, None] == 2, np.roll(logits[rows], 1, axis=1), logits[rows]))
    found = compare_graph(graph, numbered(200), outputs(logits), precision)
    images = 16 if precision == "fp32" else 200
    assert (found.images, found.same_label) == (images, 1 - 1 / images)
    assert {1, 7, 16} <= set(graph.sizes)
    assert not found.enough("fp32")


def test_an_image_that_is_right_alone_and_wrong_beside_others_is_wrong() -> None:
    logits = clear(16)
    graph = Recited(lambda rows: logits[rows] if len(rows) != 7 else np.roll(logits[rows], 1, axis=1))
    found = compare_graph(graph, numbered(16), outputs(logits), "bf16")
    assert found.same_label == pytest.approx(2 / 16)  # two remain beside two batches of seven
    assert found.largest_difference == 10.0


def test_answers_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="logits of shape"):
        compare(outputs(clear(3)), outputs(clear(3, classes=4)))
    with pytest.raises(ValueError, match="no features"):
        compare(outputs(clear(3), np.ones((3, 2))), outputs(clear(3)))
    with pytest.raises(ValueError, match="logits of shape"):
        compare_graph(Recited(lambda rows: clear(1)), numbered(16), outputs(clear(16)), "fp32")


def test_how_a_checkpoint_answers_is_read_from_its_configuration() -> None:
    assert Answering.of({}) == Answering()
    assert Answering.of({"temperature": 2.0}) == Answering(2.0)
    many = {"multi_label": True, "label_names": ["a", "b"], "thresholds": {"b": 0.3}, "temperature": 2.0}
    assert Answering.of(many) == Answering(None, (0.5, 0.3))
    assert Answering.of({"multi_label": True}) == MANY
    with pytest.raises(CheckpointError, match="temperature"):
        Answering.of({"temperature": -1})
    extreme = np.array([[1000.0, -1000.0]])
    np.testing.assert_array_equal(MANY.probabilities(extreme), [[1.0, 0.0]])
    assert "labels equal for 100.00%" in str(Agreement(1, 0.0, 0.0, 1.0, 0.0))
