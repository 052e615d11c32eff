"""The answers of a memory of classes are those that their equations give."""

import numpy as np
import pytest

from ait_lite.class_memory import READOUTS, ClassMemory
from ait_lite.class_memory.answers import SUPPORTERS
from ait_lite.class_memory.features import quantise
from tests.support.models.class_memories import DIM, assert_same_answers, clusters


def test_ridge_equals_the_normal_equations_and_its_counterfactual_a_second_solve() -> None:
    ids, vectors, labels = clusters(60, spread=1.5)
    memory = ClassMemory(16)
    memory.write(ids, vectors, labels)
    queries = clusters(10, spread=1.5, seed=1)[1]
    answers = memory.recall(queries)
    regularisation = memory.fullness().regularisation
    names = memory.labels

    def solved(keep: list[int]) -> np.ndarray:
        keys = vectors[keep] / np.linalg.norm(vectors[keep], axis=1, keepdims=True)
        targets = np.array([[labels[i] == name for name in names] for i in keep], dtype=float)
        weights = np.linalg.solve(keys.T @ keys + regularisation * np.eye(16), keys.T @ targets)
        return (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ weights

    expected = solved(list(range(60)))
    for i, answer in enumerate(answers):
        np.testing.assert_allclose(answer.scores, expected[i], atol=2e-3)
        assert answer.label == names[expected[i].argmax()]
        if answer.strongest is not None:
            without = solved([j for j in range(60) if ids[j] != answer.strongest])[i]
            assert answer.label_without_strongest == names[without.argmax()]


@pytest.mark.parametrize("readout", READOUTS)
def test_weights_add_up_to_scores_and_the_counterfactual_is_a_memory_without_the_example(readout) -> None:
    ids, vectors, labels = clusters(16, spread=1.0)
    memory = ClassMemory(16, readout=readout)
    memory.write(ids, vectors, labels)
    queries = clusters(12, spread=2.0, seed=2)[1]
    for query, answer in zip(queries, memory.recall(queries, evidence=16), strict=True):
        totals = {name: sum(e.weight for e in answer.evidence if e.label == name) for name in answer.labels}
        np.testing.assert_allclose(list(totals.values()), answer.scores, atol=1e-5)
        own = [e for e in answer.evidence[:SUPPORTERS] if e.label == answer.label]
        assert answer.strongest == (max(own, key=lambda e: e.weight).id if own else None)
        if answer.strongest is None:
            continue
        if readout != "ridge":  # ridge would choose its regularisation anew
            left = ClassMemory.from_bytes(memory.to_bytes())
            left.forget([answer.strongest])
            assert left.recall(query[None])[0].label == answer.label_without_strongest


@pytest.mark.parametrize("readout", READOUTS)
def test_the_strongest_example_is_the_same_however_many_are_named(readout: str) -> None:
    memory = ClassMemory(16, readout=readout)
    memory.write(*clusters(60, spread=2.0))
    queries = clusters(30, spread=2.0, seed=2)[1]
    asked = [memory.recall(queries, evidence=evidence) for evidence in (0, 1, 5, 8, 60)]
    told = [[(each.strongest, each.label_without_strongest) for each in answers] for answers in asked]
    assert all(each == told[0] for each in told[1:])
    assert [len(answers[0].evidence) for answers in asked] == [0, 1, 5, 8, 60]
    for answer in asked[3]:
        own = [each for each in answer.evidence[:SUPPORTERS] if each.label == answer.label]
        assert answer.strongest == (max(own, key=lambda each: each.weight).id if own else None)


@pytest.mark.parametrize("readout", READOUTS)
def test_copies_of_an_example_weigh_the_same(readout) -> None:
    random = np.random.default_rng(0)
    for dim in (33, 96, 192):
        memory = ClassMemory(dim, readout=readout)
        three = random.standard_normal((3, dim))
        memory.write([f"e{i:02}" for i in range(36)], three[np.arange(36) % 3], [f"c{i % 3 % 2}" for i in range(36)])
        queries = three + 0.3 * random.standard_normal((3, dim))
        for answer in memory.recall(queries, evidence=5):
            assert len({each.weight for each in answer.evidence}) == 1
            assert answer.strongest == answer.evidence[0].id  # of equal ones the first


@pytest.mark.parametrize("readout", READOUTS)
def test_a_label_goes_with_its_only_example(readout) -> None:
    for seed in range(100):
        random = np.random.default_rng(seed)
        memory = ClassMemory(8, readout=readout)
        memory.write(["a", "b"], random.standard_normal((2, 8)), ["cat", "dog"])
        (answer,) = memory.recall(random.standard_normal((1, 8)))
        if answer.strongest is not None:
            assert answer.label_without_strongest == {"a": "dog", "b": "cat"}[answer.strongest]


@pytest.mark.parametrize("readout", READOUTS)
def test_negative_examples_speak_against_their_label(readout: str) -> None:
    ids, vectors, labels = clusters(40)
    memory = ClassMemory(16, readout=readout)
    memory.write(ids, vectors, labels)
    strange = np.random.default_rng(5).normal(size=(1, 16))
    (before,) = memory.recall(strange)
    memory.write(["no"], strange, [f"¬{before.label}"])
    (after,) = memory.recall(strange)
    assert after.label in set(labels) - {before.label}
    assert f"¬{before.label}" in after.labels
    assert (after.strongest, after.label_without_strongest) == (None, None)
    alone = ClassMemory(16, readout=readout)
    alone.write(["no"], strange, ["¬cat"])
    assert alone.recall(strange)[0].label == ""


def test_random_features_are_chosen_where_classes_are_not_linearly_separable() -> None:
    rng = np.random.default_rng(0)
    points = rng.standard_normal((400, 4))
    labels = ["same" if a * b > 0 else "different" for a, b in points[:, :2]]
    memory = ClassMemory(4, random_features=256)
    memory.write([str(i) for i in range(400)], points, labels)
    assert memory.fullness().random_features == 256
    assert memory.fullness().accuracy > 0.85
    linear = ClassMemory(4)
    linear.write([str(i) for i in range(400)], points, labels)
    assert linear.fullness().accuracy < 0.65
    ids, vectors, labels = clusters(40, spread=0.2)
    easy = ClassMemory(16, random_features=4)
    easy.write(ids, vectors, labels)
    assert easy.fullness().random_features == 0


@pytest.mark.parametrize("count", [3, 200, 2000])
def test_evidence_is_the_exact_nearest_examples(count) -> None:
    rng = np.random.default_rng(count)
    vectors = rng.standard_normal((count, DIM))
    memory = ClassMemory(DIM)
    memory.write([str(i) for i in range(count)], vectors, ["ant"] * count)
    keys = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    queries = rng.standard_normal((70, DIM))
    cosines = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ keys.T
    for one, (answer, expected) in enumerate(zip(memory.recall(queries, evidence=3), cosines, strict=True)):
        found = [expected[int(e.id)] for e in answer.evidence]
        np.testing.assert_allclose(found, np.sort(expected)[::-1][:3], atol=3e-4)
        alone = memory.recall(queries[one : one + 1], evidence=3)[0]
        assert [e.id for e in alone.evidence] == [e.id for e in answer.evidence]


@pytest.mark.parametrize("readout", READOUTS)
def test_scores_and_answers_by_keys_are_those_of_recall(readout: str) -> None:
    memory = ClassMemory(16, readout=readout)
    memory.write(*clusters(40))
    queries = clusters(9, seed=2)[1]
    answers = memory.recall(queries)
    np.testing.assert_array_equal(memory.scores(queries), [answer.scores for answer in answers])
    other = ClassMemory(16, readout="hopfield" if readout == "ridge" else "ridge")
    other.write(*clusters(40))
    np.testing.assert_array_equal(other.scores(queries, readout=readout), memory.scores(queries))
    assert_same_answers(memory.recall_keys(quantise(queries)), answers)
    np.testing.assert_array_equal(memory.score_keys(quantise(queries)), memory.scores(queries))
    assert memory.recall_keys(np.empty((0, 16))) == []
    with pytest.raises(ValueError, match="empty"):
        ClassMemory(16).scores(queries)
    with pytest.raises(ValueError, match="Unknown readout 'nearest'"):
        memory.scores(queries, readout="nearest")


def test_ridge_is_no_worse_than_class_means_from_one_example_a_class_on() -> None:
    queries, truth = clusters(400, spread=1.2, seed=7)[1:]
    for count in (4, 8, 20, 80, 400):
        ids, vectors, labels = clusters(count, spread=1.2)
        memory = ClassMemory(16)
        memory.write(ids, vectors, labels)
        accuracy = {
            readout: np.mean(
                [a.label == t for a, t in zip(memory.recall(queries, readout=readout), truth, strict=True)]
            )
            for readout in ("ridge", "prototype")
        }
        assert accuracy["ridge"] > accuracy["prototype"] - 0.03, count


def test_the_cosine_of_an_image_with_itself_is_no_more_than_one() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 12))
    memory = ClassMemory(12)
    memory.write([f"e{i}" for i in range(50)], vectors, ["a", "b"] * 25)
    for answer in memory.recall(vectors, evidence=1):
        assert 0.999 < answer.evidence[0].similarity <= 1.0
