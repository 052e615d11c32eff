"""The memory of classes: what it answers depends on the set of its examples alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ait_lite.class_memory import READOUTS, ClassMemory, Recall
from ait_lite.class_memory.answers import SUPPORTERS
from ait_lite.class_memory.features import quantise

DIM = 6
LABELS = ("ant", "bee", "cat")


def vector(identifier: str) -> np.ndarray:
    return np.random.default_rng(sum(ord(c) * 97**i for i, c in enumerate(identifier))).standard_normal(DIM)


def taught(examples: Sequence[tuple[str, str]], **options: object) -> ClassMemory:
    memory = ClassMemory(DIM, **options)  # type: ignore[arg-type]
    for identifier, label in examples:
        memory.write([identifier], vector(identifier)[None], [label])
    return memory


def clusters(count: int, dim: int = 16, spread: float = 0.3, classes: int = 4, seed: int = 0):
    """`count` vectors around class centres, with ids and labels."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((classes, dim))
    codes = np.arange(count) % classes
    vectors = centres[codes] + spread * rng.standard_normal((count, dim))
    return [f"{seed}-{i}" for i in range(count)], vectors, [f"class {code}" for code in codes]


def assert_same_answers(ours: list[Recall], theirs: list[Recall]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert (one.label, one.labels, one.p_value, one.unknown) == (
            other.label,
            other.labels,
            other.p_value,
            other.unknown,
        )
        assert one.label_without_strongest == other.label_without_strongest
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.evidence == other.evidence


EXAMPLES = st.dictionaries(st.sampled_from([f"e{i}" for i in range(12)]), st.sampled_from(LABELS), min_size=1)
QUERIES = np.random.default_rng(5).standard_normal((4, DIM))


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, EXAMPLES, st.randoms(use_true_random=False), st.sampled_from([0, 8]))
def test_order_and_forgotten_examples_leave_no_trace(kept, others, random, random_features) -> None:
    reference = taught(sorted(kept.items()), random_features=random_features)
    steps = [*kept.items(), *((f"forgotten {name}", label) for name, label in others.items())]
    random.shuffle(steps)
    memory = taught(steps, random_features=random_features)
    if random.random() < 0.5:
        memory.recall(QUERIES)  # whatever was computed before the forgetting must not show after it
    memory.forget([name for name, _ in steps if name.startswith("forgotten")])

    assert memory.digest() == reference.digest()
    assert memory.to_bytes() == reference.to_bytes()
    assert memory.verify()
    for readout in ("ridge", "prototype"):
        assert_same_answers(memory.recall(QUERIES, readout=readout), reference.recall(QUERIES, readout=readout))


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, st.data())
def test_merging_parts_gives_the_whole(examples, data) -> None:
    names = sorted(examples)
    part = data.draw(st.sets(st.sampled_from(names)))
    whole, one, other = (ClassMemory(DIM) for _ in range(3))
    for memory, members in ((whole, names), (one, sorted(part)), (other, [n for n in names if n not in part])):
        memory.write(members, np.array([vector(n) for n in members]).reshape(-1, DIM), [examples[n] for n in members])
    one.merge(other)
    assert one.digest() == whole.digest()
    assert one.to_bytes() == whole.to_bytes()
    one.merge(whole)
    assert one.digest() == whole.digest()


@settings(max_examples=40, deadline=None)
@given(EXAMPLES, st.sampled_from(LABELS))
def test_relabelling_is_writing_with_the_other_label(examples, label) -> None:
    memory = taught(sorted(examples.items()))
    name = min(examples)
    memory.relabel(name, label)
    assert memory.label_of(name) == label
    assert memory.digest() == taught(sorted((examples | {name: label}).items())).digest()
    assert memory.verify()


def test_writing_a_stored_identifier_replaces_the_example() -> None:
    memory = taught([("a", "ant"), ("b", "bee")])
    memory.write(["a"], vector("b")[None], ["cat"])
    assert memory.counts == {"bee": 1, "cat": 1}
    assert memory.ids("cat") == ["a"]
    assert "a" in memory
    assert memory.verify()


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


def test_p_values_of_known_queries_are_uniform_and_of_strangers_small() -> None:
    ids, vectors, labels = clusters(500)
    memory = ClassMemory(16, unknown_level=0.05)
    memory.write(ids, vectors, labels)
    known = [answer.p_value for answer in memory.recall(clusters(400, seed=3)[1])]
    for level in (0.1, 0.3, 0.6):
        assert np.mean(np.array(known) <= level) == pytest.approx(level, abs=0.07)
    strangers = memory.recall(np.random.default_rng(8).standard_normal((50, 16)))
    assert np.mean([answer.unknown for answer in strangers]) > 0.9
    assert strangers[0].resolution == 1 / 501


def test_few_examples_call_nothing_unknown() -> None:
    memory = taught([("a", "ant"), ("b", "bee")], unknown_level=0.1)
    answer = memory.recall(-vector("a")[None])[0]
    assert answer.resolution == pytest.approx(1 / 3)
    assert not answer.unknown
    only = taught([("a", "ant")]).recall(vector("a")[None])[0]
    assert (only.label, only.strongest, only.label_without_strongest) == ("ant", "a", None)


def test_a_memory_says_why_nothing_can_be_called_unknown() -> None:
    assert taught([], unknown_level=0.5).unpromised == "Nothing has been taught yet."
    assert "takes 3 examples to promise a level of 0.25, and there are 2" in (
        taught([("a", "ant"), ("b", "bee")], unknown_level=0.25).unpromised
    )
    assert taught([("a", "ant"), ("b", "bee"), ("c", "bee")], unknown_level=0.25).unpromised == ""
    assert "unknown_level is 0" in taught([("a", "ant")], unknown_level=0.0).unpromised


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
    assert memory.recall_keys(np.empty((0, 16))) == []
    with pytest.raises(ValueError, match="empty"):
        ClassMemory(16).scores(queries)
    with pytest.raises(ValueError, match="Unknown readout 'nearest'"):
        memory.scores(queries, readout="nearest")


def test_a_file_holds_the_whole_memory(tmp_path: Path) -> None:
    ids, vectors, labels = clusters(50)
    memory = ClassMemory(16, centre=np.full(16, 0.1), random_features=8, seed=3, readout="prototype", beta=5.0)
    memory.write(ids, vectors, labels)
    memory.save(tmp_path / "memory.safetensors")
    loaded = ClassMemory.load(tmp_path / "memory.safetensors")
    assert loaded.verify()
    assert loaded.digest() == memory.digest()
    assert (loaded.readout, loaded.beta, loaded.seed) == ("prototype", 5.0, 3)
    assert_same_answers(loaded.recall(vectors[:5]), memory.recall(vectors[:5]))
    assert [path.name for path in tmp_path.iterdir()] == ["memory.safetensors"]


def test_an_empty_memory_can_be_kept() -> None:
    memory = ClassMemory(4)
    assert ClassMemory.from_bytes(memory.to_bytes()).digest() == memory.digest()
    with pytest.raises(ValueError, match="empty"):
        memory.recall(np.ones((1, 4)))
    with pytest.raises(ValueError, match="empty"):
        memory.fullness()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_or_is_the_same(data) -> None:
    memory = taught([("a", "ant"), ("b", "bee")])
    whole = memory.to_bytes()
    damaged = bytearray(whole)
    position = data.draw(st.integers(0, len(whole) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    try:
        loaded = ClassMemory.from_bytes(bytes(damaged))
    except ValueError:
        return
    assert loaded.digest() == memory.digest()


@pytest.mark.parametrize("random_features", [0, 8])
def test_a_copy_and_its_memory_go_their_own_ways(random_features: int) -> None:
    examples = [(f"e{number}", LABELS[number % 3]) for number in range(9)]
    memory = taught(examples, random_features=random_features)
    before = memory.recall(QUERIES)
    copied = memory.copy()
    assert_same_answers(copied.recall(QUERIES), before)
    memory.forget(["e0", "e4"])
    memory.relabel("e1", "dog")
    copied.write(["new"], vector("new")[None], ["eel"])
    for one, left in (
        (memory, [("e1", "dog"), *(each for each in examples if each[0] not in ("e0", "e1", "e4"))]),
        (copied, [*examples, ("new", "eel")]),
    ):
        fresh = taught(left, random_features=random_features)
        assert one.verify()
        assert one.to_bytes() == fresh.to_bytes()
        assert_same_answers(one.recall(QUERIES), fresh.recall(QUERIES))


def test_wrong_input_changes_nothing() -> None:
    memory = taught([("a", "ant")])
    before = memory.to_bytes()
    one = np.ones((1, DIM))
    for ids, vectors, labels in (
        (["b"], np.full((1, DIM), np.nan), ["bee"]),
        (["b"], np.zeros((1, DIM)), ["bee"]),
        (["b", "b"], np.ones((2, DIM)), ["bee", "bee"]),
        (["b"], one, [""]),
        (["\ud800"], one, ["bee"]),
        (["b"], one, []),
        (["b"], np.ones((1, DIM + 1)), ["bee"]),
    ):
        with pytest.raises(ValueError, match=r".+"):
            memory.write(ids, vectors, labels)
    with pytest.raises(ValueError, match="surrogates"):
        memory.relabel("a", "\ud800")
    with pytest.raises(KeyError):
        memory.forget(["a", "missing"])
    with pytest.raises(KeyError):
        memory.forget(["a", "a"])
    with pytest.raises(ValueError, match="readout"):
        memory.recall(one, readout="nothing")
    assert memory.to_bytes() == before
    assert memory.recall(np.empty((0, DIM))) == []


def test_memories_that_differ_do_not_merge() -> None:
    memory = taught([("a", "ant")])
    with pytest.raises(ValueError, match="merge only"):
        memory.merge(ClassMemory(DIM, random_features=4))
    with pytest.raises(ValueError, match="different examples"):
        memory.merge(taught([("b", "bee"), ("a", "cat")]))
    assert memory.ids() == ["a"]


@pytest.mark.parametrize(
    "options",
    [
        {"dim": 0},
        {"dim": 2, "random_features": 10**9},
        {"dim": 2, "readout": "x"},
        {"dim": 2, "beta": 0.0},
        {"dim": 2, "centre": np.ones(3)},
    ],
)
def test_options_out_of_range_are_refused(options) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ClassMemory(**options)


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


def test_a_memory_says_whether_something_is_to_be_computed_of_all_examples_first() -> None:
    ids, vectors, labels = clusters(4200, dim=96)
    memory = ClassMemory(96)
    memory.write(ids[:-1], vectors[:-1], labels[:-1])
    assert not memory.is_settled(1)
    memory.recall(vectors[:1])
    assert memory.is_settled(255)
    assert not memory.is_settled(256)  # from here on searches are worth a preparation
    memory.recall(vectors[:255])
    assert not memory.is_settled(1)
    memory.recall(vectors[:1])
    assert memory.is_settled(1000)
    memory.write(ids[-1:], vectors[-1:], labels[-1:])
    assert not memory.is_settled(1)


def test_a_memory_of_narrow_features_stays_settled() -> None:
    memory = taught([("a", "ant"), ("b", "bee")])
    for _ in range(3):
        memory.recall(np.random.default_rng(0).standard_normal((200, DIM)))
        assert memory.is_settled(1)


def test_the_cosine_of_an_image_with_itself_is_no_more_than_one() -> None:
    vectors = np.random.default_rng(0).standard_normal((50, 12))
    memory = ClassMemory(12)
    memory.write([f"e{i}" for i in range(50)], vectors, ["a", "b"] * 25)
    for answer in memory.recall(vectors, evidence=1):
        assert 0.999 < answer.evidence[0].similarity <= 1.0
