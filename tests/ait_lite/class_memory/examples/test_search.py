"""The nearest examples are found exactly, by bounds or without, whatever was added and removed before."""

from typing import NoReturn

import numpy as np
import pytest

from ait_lite.class_memory.examples.search import search
from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import quantise
from tests.support.keys_in_few_directions import DIM, in_few_directions

COUNT = 6000


def filled(keys: np.ndarray) -> ExampleStore:
    store = ExampleStore(DIM)
    store.add([f"{index:05}" for index in range(len(keys))], ["ant"] * len(keys), keys)
    return store


def found(store: ExampleStore, queries: np.ndarray, count: int = 5) -> list[list[str]]:
    rows, products = search(store, queries, count)
    np.testing.assert_array_equal(products, np.take_along_axis(queries @ store.keys().T, rows, 1))
    return [[store.ids[row] for row in each] for each in rows]


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

    store.add([f"new {index}" for index in range(200)], ["bee"] * 200, keys[COUNT:])
    queries = np.concatenate([queries, keys[COUNT : COUNT + 3]])
    assert found_by_bounds(store, queries) == expected(store, queries)  # many have been asked by now
    assert found_by_bounds(store, queries[:1]) == expected(store, queries[:1])

    store.remove(["00100", "new 1", *store.ids[50:60]])
    with pytest.raises(AssertionError, match="all keys"):  # directions that forgotten examples have chosen are gone
        found_by_bounds(store, queries[:1])
    for _ in range(2):
        assert found(store, queries) == expected(store, queries)


def test_keys_that_differ_in_all_directions_are_searched_through() -> None:
    store = filled(quantise(np.random.default_rng(3).standard_normal((COUNT, DIM))))
    queries = quantise(np.random.default_rng(4).standard_normal((20, DIM)))
    for _ in range(3):
        assert found(store, queries) == expected(store, queries)


def test_other_directions_are_looked_for_when_there_is_much_more() -> None:
    keys = in_few_directions(COUNT, 5)
    store = filled(keys)
    found(store, keys[:30])
    found_by_bounds(store, keys[:30])
    others = quantise(np.roll(in_few_directions(COUNT + 10, 6), DIM // 3, axis=1))
    store.add([f"other {index}" for index in range(len(others))], ["bee"] * len(others), others)
    queries = others[:30]
    assert found(store, queries) == expected(store, queries)
    assert found_by_bounds(store, queries) == expected(store, queries)


def test_equally_near_examples_are_told_apart_by_id_at_any_time() -> None:
    keys = in_few_directions(4200, 7)
    keys[2000:2030] = keys[0]
    store = ExampleStore(DIM)
    store.add([f"{len(keys) - index:05}" for index in range(len(keys))], ["ant"] * len(keys), keys)
    queries = np.concatenate([keys[:1], in_few_directions(9, 8)])
    right = expected(store, queries)
    for _ in range(4):  # before and after bounds are there
        assert found(store, queries) == right
    assert found_by_bounds(store, queries) == right


def test_one_question_for_much_takes_nothing_from_the_others() -> None:
    store = filled(in_few_directions(COUNT, 9))
    queries = in_few_directions(20, 10)
    found(store, queries)
    for count in (300, COUNT - 1, COUNT, COUNT + 1):
        assert found(store, queries[:1], count) == expected(store, queries[:1], count)
    assert found_by_bounds(store, queries) == expected(store, queries)
    assert found_by_bounds(store, queries, 50) == expected(store, queries, 50)


def test_a_key_that_nearly_all_examples_have() -> None:
    keys = in_few_directions(COUNT, 11)
    keys[200:] = keys[0]
    store = filled(keys)
    others = keys[1:30]
    found(store, others)
    for _ in range(5):
        rows, products = search(store, keys[:1], 5)
        assert (products == keys[0] @ keys[0]).all()
        assert len(set(rows[0].tolist())) == 5
    assert found(store, others) == expected(store, others)
