"""Find the nearest examples of a store, compared exactly."""

import numpy as np

from ait_lite.class_memory.examples.blocks import Blocks, picked
from ait_lite.class_memory.examples.sketch import ROUNDING
from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import SCALE

_MORE = 4  # than are wanted, for what float32 confuses
_NUMBERS = 2**21  # of keys that are held as float64 at a time


def search(
    store: ExampleStore, keys: np.ndarray, count: int, cosines: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the nearest examples of integer queries (b, d).

    Args:
        store: The examples.
        keys: The queries.
        count: Number k of examples wanted.
        cosines: Float32 cosines of the queries with all examples, (b, n), where they are known already.

    Returns:
        Rows (b, k), nearest first and by id where equally near; their integer products with the query (b, k).
    """
    count = min(count, len(store))
    if cosines is None:
        bounds = _bounds(store, keys, count)
        if bounds is not None:
            rows, exact, complete = _candidates(store, keys, count, bounds)
            store.bounds.note(complete)
            if complete:
                return _nearest(store, rows, exact, count)
        cosines = store.cosines(keys)
    rows, exact, _ = _candidates(store, keys, count, cosines)
    return _nearest(store, rows, exact, count)


def _bounds(store: ExampleStore, keys: np.ndarray, count: int) -> np.ndarray | None:
    if len(keys) * len(store) < _most_pairs(len(keys), len(store), count) * 8:
        return None  # nearly all are wanted
    return store.bounds.of(keys, store)


def _most_pairs(queries: int, examples: int, count: int) -> int:
    """Count the products that may be computed exactly: more would cost more than all of them do in float32."""
    return queries * max(examples // 256, 4 * count + 64)


def _candidates(
    store: ExampleStore, keys: np.ndarray, count: int, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Find the examples that can be among the `count` nearest, by scores (b, n) that are no less than cosines.

    Returns:
        Their rows (b, m), at least `count` different ones; their products with the query, -inf where there are fewer
        than m; and False if there are too many, and only those with the largest scores are here.
    """
    blocks = Blocks(scores)
    rows = blocks.largest(min(count + _MORE, len(store)))
    exact = (store.keys(rows) @ keys[:, :, None])[:, :, 0]
    least = np.partition(exact, -count, axis=1)[:, -count] / SCALE**2 - ROUNDING
    # What is not among these has a smaller score: mostly one that says that it is not as near.
    least = np.where(picked(scores, rows).min(axis=1) < least, np.inf, least).astype(np.float32)
    if np.isinf(least).all():
        return rows, exact, True
    pairs = blocks.at_least(least, _most_pairs(len(keys), len(store), count))
    if pairs is None:
        return rows, exact, False
    which, where = pairs
    counts = np.bincount(which, minlength=len(keys))
    width = max(rows.shape[1], int(counts.max()))
    wider = np.zeros((len(keys), width), np.int64)
    products = np.full(wider.shape, -np.inf)
    kept = np.isinf(least)
    wider[kept, : rows.shape[1]], products[kept, : rows.shape[1]] = rows[kept], exact[kept]
    place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
    wider[which, place] = where
    products[which, place] = _products(store, keys, which, where)
    return wider, products, True


def _products(store: ExampleStore, keys: np.ndarray, which: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Integer products of pairs of a query and an example, shape (p,)."""
    products = np.empty(len(which))
    step = max(_NUMBERS // keys.shape[1], 1)
    for start in range(0, len(which), step):
        part = slice(start, start + step)
        products[part] = np.einsum("nd,nd->n", keys[which[part]], store.keys(where[part]))
    return products


def _nearest(store: ExampleStore, rows: np.ndarray, exact: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort candidates (b, m) and keep the `count` nearest."""
    order = np.argsort(-exact, axis=1)
    rows, exact = picked(rows, order), picked(exact, order)
    foremost = exact[:, : count + 1]
    for query in np.nonzero((foremost[:, 1:] == foremost[:, :-1]).any(axis=1))[0]:
        near = int((exact[query] >= exact[query, count - 1]).sum())
        ranks = [(-product, store.ids[row]) for product, row in zip(exact[query], rows[query, :near], strict=False)]
        rows[query, :near] = rows[query, sorted(range(near), key=ranks.__getitem__)]
    return rows[:, :count], exact[:, :count]
