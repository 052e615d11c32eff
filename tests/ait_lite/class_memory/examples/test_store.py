"""The nearest other example of each is exact, whatever was added and removed before it was asked for."""

import numpy as np

from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import quantise

DIM = 5


def brute(store: ExampleStore) -> np.ndarray:
    keys = store.keys()
    products = keys @ keys.T
    np.fill_diagonal(products, -np.inf)
    return products.max(axis=1)


def test_nearest_across_tiles_after_adding_and_removing() -> None:
    random = np.random.default_rng(0)
    keys = quantise(random.standard_normal((2600, DIM)))
    keys[2500:2510] = keys[:10]  # equal keys, far apart
    names = [str(index) for index in range(len(keys))]
    store = ExampleStore(DIM)
    store.add(names[:2300], ["ant"] * 2300, keys[:2300])
    np.testing.assert_array_equal(store.nearest(), brute(store))
    store.add(names[2300:], ["bee"] * 300, keys[2300:])
    store.remove(names[100:1400:3])
    np.testing.assert_array_equal(store.nearest(), brute(store))
    store.remove([*names[:3], names[2505]])
    np.testing.assert_array_equal(store.nearest(), brute(store))
    store.add(["new"], ["cat"], keys[:1])
    np.testing.assert_array_equal(store.nearest(), brute(store))


def test_a_single_example_has_no_nearest() -> None:
    store = ExampleStore(DIM)
    store.add(["one"], ["ant"], quantise(np.ones((1, DIM))))
    assert store.nearest().tolist() == [-np.inf]
    store.add(["two"], ["ant"], quantise(np.ones((1, DIM))))
    np.testing.assert_array_equal(store.nearest(), brute(store))
