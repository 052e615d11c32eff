"""The nearest examples are found exactly, by bounds or without, whatever was added and removed before."""

from typing import NoReturn

import numpy as np
import pytest

from ait_lite.class_memory.examples.search import search
from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import SCALE, quantise
from tests.support.models.keys_in_few_directions import DIM, in_few_directions

COUNT = 6000


def filled(keys: np.ndarray) -> ExampleStore:
    store = ExampleStore(DIM)
    store.add([f"{index:05}" for index in range(len(keys))], ["ant"] * len(keys), keys)
    return store


def found(store: ExampleStore, queries: np.ndarray, count: int = 5) -> list[list[str]]:
    rows, products = search(store, queries, count)
    np.testing.assert_array_equal(products, np.take_along_axis(queries @ store.keys().T, rows, 1))
    return [[store.ids[row] for row in each] for each in rows]


def made_ready(store: ExampleStore) -> ExampleStore:
    """Ask so much that bounds are made."""
    search(store, np.repeat(store.keys(slice(1)), 300, axis=0), 1)
    return store


def found_by_bounds(store: ExampleStore, queries: np.ndarray, count: int = 5) -> list[list[str]]:
    def refuse(_: np.ndarray) -> NoReturn:
        raise AssertionError("all keys were looked at")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "cosines", refuse)
        return found(store, queries, count)


def expected(store: ExampleStore, queries: np.ndarray, count: int = 5) -> list[list[str]]:
    products = queries @ store.keys().T
    ranked = [sorted(range(len(store)), key=lambda row, own=own: (-own[row], store.ids[row])) for own in products]
    return [[store.ids[row] for row in each[:count]] for each in ranked]


def test_bounds_suffice_and_follow_what_is_added_and_removed() -> None:
    keys = in_few_directions(COUNT + 200, 1)
    keys[100:110] = keys[:10]  # equally near: the id decides
    store = filled(keys[:COUNT])
    queries = np.concatenate([in_few_directions(20, 2), keys[:4]])
    assert found(store, queries) == expected(store, queries)

    made_ready(store)
    store.add([f"new {index}" for index in range(200)], ["bee"] * 200, keys[COUNT:])
    queries = np.concatenate([queries, keys[COUNT : COUNT + 3]])
    assert found_by_bounds(store, queries) == expected(store, queries)  # many have been asked by now
    assert found_by_bounds(store, queries[:1]) == expected(store, queries[:1])

    store.remove(["00100", "new 1", *store.ids[50:60]])
    with pytest.raises(AssertionError, match="all keys"):  # directions that forgotten examples have chosen are gone
        found_by_bounds(store, queries[:1])
    assert found(store, queries) == expected(store, queries)
    assert found_by_bounds(made_ready(store), queries) == expected(store, queries)


def test_keys_that_differ_in_all_directions_are_searched_through() -> None:
    store = filled(quantise(np.random.default_rng(3).standard_normal((COUNT, DIM))))
    queries = quantise(np.random.default_rng(4).standard_normal((20, DIM)))
    made_ready(store)
    for _ in range(5):
        assert found(store, queries) == expected(store, queries)


def test_bounds_that_leave_a_few_hundred_are_worth_having() -> None:
    # As features of 20,000 different photographs do, these differ in many directions, in some of them more.
    def keys(count: int, seed: int) -> np.ndarray:
        spread = np.arange(1.0, DIM + 1) ** -0.55
        return quantise(np.random.default_rng(seed).standard_normal((count, DIM)) * spread)

    store, queries = made_ready(filled(keys(COUNT, 11))), keys(60, 12)
    looked_through: list[int] = []

    def noted(asked: np.ndarray) -> np.ndarray:
        looked_through.append(len(asked))
        return asked / SCALE @ store.keys().T / SCALE

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "cosines", noted)
        for _ in range(5):
            assert found(store, queries) == expected(store, queries)
    assert sum(looked_through) < len(queries) * 5 / 4


def test_other_directions_are_looked_for_when_there_is_much_more() -> None:
    keys = in_few_directions(COUNT, 5)
    store = filled(keys)
    found_by_bounds(made_ready(store), keys[:30])
    others = quantise(np.roll(in_few_directions(COUNT + 10, 6), DIM // 3, axis=1))
    store.add([f"other {index}" for index in range(len(others))], ["bee"] * len(others), others)
    queries = others[:30]
    assert found(store, queries) == expected(store, queries)
    assert found_by_bounds(made_ready(store), queries) == expected(store, queries)


@pytest.mark.parametrize("copies", [30, 100, 4000])
def test_equally_near_examples_are_told_apart_by_id_at_any_time(copies: int) -> None:
    keys = in_few_directions(4200, 7)
    keys[100 : 100 + copies] = keys[0]
    store = ExampleStore(DIM)
    store.add([f"{len(keys) - index:05}" for index in range(len(keys))], ["ant"] * len(keys), keys)
    queries = np.concatenate([in_few_directions(4, 8), keys[:1], keys[-5:]])
    right = expected(store, queries)
    for _ in range(2):  # before and after bounds are there
        assert found(store, queries) == right
        assert [found(store, queries[each : each + 1])[0] for each in range(len(queries))] == right
        made_ready(store)


def test_one_question_takes_nothing_from_the_others() -> None:
    keys = in_few_directions(COUNT, 9)
    keys[:1000] = keys[0]
    store = made_ready(filled(keys))
    queries = in_few_directions(20, 10)
    for count in (300, COUNT - 1, COUNT, COUNT + 1):
        assert found(store, queries[:1], count) == expected(store, queries[:1], count)
    for _ in range(5):  # what is taught a thousand times
        assert found(store, keys[:1]) == expected(store, keys[:1])
    assert found_by_bounds(store, queries) == expected(store, queries)
    assert found_by_bounds(store, queries, 50) == expected(store, queries, 50)
