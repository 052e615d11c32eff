"""The memory of classes: what it answers depends on the set of its examples alone."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ait_lite.class_memory import ClassMemory
from tests.support.models.class_memories import (
    DIM,
    EXAMPLES,
    LABELS,
    QUERIES,
    assert_same_answers,
    clusters,
    taught,
    vector,
)


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
