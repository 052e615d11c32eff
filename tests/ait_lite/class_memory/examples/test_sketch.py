"""Bounds hold for all keys, and a search by bounds finds what a search through all keys finds."""

from typing import NoReturn

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ait_lite.class_memory.examples.sketch import DIRECTIONS, ROUNDING, Sketch
from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import SCALE, quantise

DIM = 2 * DIRECTIONS
COUNT = 6000


def in_few_directions(count: int, seed: int, noise: float = 0.05) -> np.ndarray:
    """Integer keys that differ mostly in a dozen directions, as the features of a trained model do."""
    directions = np.random.default_rng(0).standard_normal((12, DIM))
    random = np.random.default_rng(seed)
    return quantise(random.standard_normal((count, 12)) @ directions + noise * random.standard_normal((count, DIM)))


def filled(keys: np.ndarray) -> ExampleStore:
    store = ExampleStore(DIM)
    store.add([f"{index:05}" for index in range(len(keys))], ["ant"] * len(keys), keys)
    return store


def asked(store: ExampleStore, queries: np.ndarray, count: int = 5) -> tuple[np.ndarray, np.ndarray]:
    return store.search(queries, count, lambda: store.cosines(queries))


def refuse() -> NoReturn:
    raise AssertionError("all keys were looked at")


def expected(store: ExampleStore, queries: np.ndarray, count: int = 5) -> list[list[str]]:
    products = queries @ store.keys().T
    ranked = [sorted(range(len(store)), key=lambda row, own=own: (-own[row], store.ids[row])) for own in products]
    return [[store.ids[row] for row in each[:count]] for each in ranked]


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), noise=st.sampled_from([0.0, 0.1, 100.0]))
def test_bounds_are_never_less(seed: int, noise: float) -> None:
    keys, queries = in_few_directions(300, seed, noise) / SCALE, in_few_directions(7, seed + 1, noise) / SCALE
    sketch = Sketch(keys[:100])
    sketch.add(keys[:130])
    sketch.add(keys[130:])
    assert len(sketch) == 300
    assert (sketch.bounds(queries) >= queries @ keys.T - ROUNDING).all()
    np.testing.assert_allclose(sketch.bounds(queries[:1]), sketch.bounds(queries)[:1], atol=ROUNDING)


def test_bounds_suffice_and_follow_what_is_added_and_removed() -> None:
    keys = in_few_directions(COUNT + 200, 1)
    keys[100:110] = keys[:10]  # equally near: the id decides
    store = filled(keys[:COUNT])
    queries = np.concatenate([in_few_directions(20, 2), keys[:4]])
    assert [[store.ids[row] for row in each] for each in asked(store, queries)[0]] == expected(store, queries)

    store.add([f"new {index}" for index in range(200)], ["bee"] * 200, keys[COUNT:])
    queries = np.concatenate([queries, keys[COUNT : COUNT + 3]])
    rows, products = store.search(queries, 5, refuse)  # many have been asked by now
    assert [[store.ids[row] for row in each] for each in rows] == expected(store, queries)
    np.testing.assert_array_equal(products, np.take_along_axis(queries @ store.keys().T, rows, 1))
    one = store.search(queries[:1], 5, refuse)[0]
    np.testing.assert_array_equal(one, rows[:1])

    store.remove(["00100", "new 1", *store.ids[50:60]])
    with pytest.raises(AssertionError, match="all keys"):  # directions that forgotten examples have chosen are gone
        store.search(queries[:1], 5, refuse)
    for _ in range(2):
        assert [[store.ids[row] for row in each] for each in asked(store, queries)[0]] == expected(store, queries)


def test_keys_that_differ_in_all_directions_are_searched_through() -> None:
    store = filled(quantise(np.random.default_rng(3).standard_normal((COUNT, DIM))))
    queries = quantise(np.random.default_rng(4).standard_normal((20, DIM)))
    for _ in range(3):
        assert [[store.ids[row] for row in each] for each in asked(store, queries)[0]] == expected(store, queries)


def test_other_directions_are_looked_for_when_there_is_much_more() -> None:
    keys = in_few_directions(COUNT, 5)
    store = filled(keys)
    asked(store, keys[:30])
    asked(store, keys[:30])
    others = quantise(np.roll(in_few_directions(COUNT + 10, 6), DIM // 3, axis=1))
    store.add([f"other {index}" for index in range(len(others))], ["bee"] * len(others), others)
    queries = others[:30]
    for _ in range(2):
        found = asked(store, queries)[0]
    assert [[store.ids[row] for row in each] for each in found] == expected(store, queries)
    store.search(queries, 5, refuse)
