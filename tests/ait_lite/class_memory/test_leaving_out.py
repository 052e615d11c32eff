"""What a memory of classes tells of its own examples is what a memory without each would say."""

import numpy as np
import pytest

from ait_lite.class_memory import READOUTS, ClassMemory
from tests.support.models.class_memories import clusters, taught


def test_fullness_equals_leaving_out_each_example_in_turn() -> None:
    ids, vectors, labels = clusters(20, dim=8, spread=1.5)
    memory = ClassMemory(8)
    memory.write(ids, vectors, labels)
    full = memory.fullness()
    keys = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    targets = np.array([[label == name for name in memory.labels] for label in labels], dtype=float)
    inverse = np.linalg.inv(keys.T @ keys + full.regularisation * np.eye(8))
    assert full.effective_dimension == pytest.approx(np.trace(keys.T @ keys @ inverse), rel=1e-3)
    right = 0
    for i in range(20):
        rest = np.arange(20) != i
        gram = keys[rest].T @ keys[rest] + full.regularisation * np.eye(8)
        right += int((keys[i] @ np.linalg.solve(gram, keys[rest].T @ targets[rest])).argmax() == targets[i].argmax())
    assert full.accuracy == pytest.approx(right / 20)
    assert (full.examples, full.width, full.random_features) == (20, 8, 0)


@pytest.mark.parametrize(
    ("readout", "tolerance"), [("ridge", 0.05), ("hopfield", 1e-5), ("associative", 1e-5), ("prototype", 1e-9)]
)
def test_what_is_left_out_is_scored_by_a_memory_without_it(readout: str, tolerance: float) -> None:
    """Ridge would choose its regularisation anew, of the others alone: hence the tolerance."""
    names, vectors, labels = clusters(30)
    labels = [*labels[:-1], "lone"]
    memory = ClassMemory(16, readout=readout)
    memory.write(names, vectors, labels)
    ids, scores = memory.leave_one_out(30)
    assert sorted(ids) == sorted(names)
    for identifier, found in zip(ids, scores, strict=True):
        row = list(names).index(identifier)
        others = [number for number in range(30) if number != row]
        without = ClassMemory(16, readout=readout)
        without.write([names[number] for number in others], vectors[others], [labels[number] for number in others])
        (expected,) = without.recall(vectors[row : row + 1])
        kept = [memory.labels.index(label) for label in without.labels]
        np.testing.assert_allclose(found[kept], expected.scores, atol=tolerance)
        assert all(abs(found[index]) < 1e-6 for index in range(len(memory.labels)) if index not in kept)


def test_a_single_example_left_out_leaves_nothing_to_tell() -> None:
    for readout in READOUTS:
        memory = taught([("a", "cat")], readout=readout)
        ids, scores = memory.leave_one_out(5)
        assert ids == ["a"]
        np.testing.assert_allclose(scores, [[0.0]], atol=1e-12)
