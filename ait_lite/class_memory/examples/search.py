"""Find the nearest examples of a store, compared exactly."""

import heapq
from collections.abc import Sequence

import numpy as np

from ait_lite.class_memory.examples.largest import large
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
    found = _Found(store, keys, count)
    bounds = store.bounds.of(keys, store) if cosines is None and _worthwhile(store, count) else None
    if bounds is not None:
        found.look(bounds, range(len(keys)))
    left = found.left
    if left:
        found.look(store.cosines(keys[left]) if cosines is None else cosines[left], left)
        if bounds is not None:
            # What even the cosines do not settle is not the bounds' fault.
            store.bounds.note(2 * (len(left) - len(found.left)) <= len(keys))
        for query in found.left:  # more are equally near than are worth a list
            found.compare_all(query)
    elif bounds is not None:
        store.bounds.note(True)
    return found.rows, found.products


def _worthwhile(store: ExampleStore, count: int) -> bool:
    """Tell whether bounds can leave little enough: not where nearly all examples are wanted."""
    return 8 * _most_candidates(len(store), count) <= len(store)


def _most_candidates(examples: int, count: int) -> int:
    """Count the products of a query that may be computed exactly: more cost more than all of them do in float32."""
    return max(examples // 32, 4 * count + 64)


class _Found:
    """The nearest examples of some queries, as far as they have been found.

    Attributes:
        rows: (b, k).
        products: (b, k), integer.
    """

    def __init__(self, store: ExampleStore, keys: np.ndarray, count: int) -> None:
        self._store, self._keys, self._count = store, keys, count
        self._most = _most_candidates(len(store), count)
        self.rows = np.zeros((len(keys), count), np.int64)
        self.products = np.zeros((len(keys), count))
        self._settled = [False] * len(keys)

    @property
    def left(self) -> list[int]:
        """The queries whose nearest examples are not known yet."""
        return [query for query, settled in enumerate(self._settled) if not settled]

    def look(self, scores: np.ndarray, queries: Sequence[int]) -> None:
        """Find the nearest examples of some queries (q,), by scores (q, n) that are no less than their cosines.

        Queries of which too many examples can be the nearest are left.
        """
        keys, count = self._keys[queries], self._count
        rows = large(scores, min(count + _MORE, len(self._store)))
        exact = (self._store.keys(rows) @ keys[:, :, None])[:, :, 0]
        # The nearest are at least as near as the best of these, which are mostly the nearest themselves.
        least = np.partition(exact, -count, axis=1)[:, -count] / SCALE**2 - ROUNDING
        for query, own, bound in zip(queries, scores, least.astype(np.float32), strict=True):
            candidates = np.flatnonzero(own >= bound)
            if len(candidates) <= self._most:
                self._keep(query, candidates, self._store.keys(candidates) @ self._keys[query])

    def compare_all(self, query: int) -> None:
        """Find the nearest examples of one query by its products with all."""
        store, count, step = self._store, self._count, max(_NUMBERS // self._keys.shape[1], 1)
        parts = range(0, len(store), step)
        exact = np.concatenate([store.keys(slice(start, start + step)) @ self._keys[query] for start in parts])
        least = np.partition(exact, -count)[-count]
        nearer = np.flatnonzero(exact > least)
        as_near = heapq.nsmallest(count - len(nearer), np.flatnonzero(exact == least), key=store.ids.__getitem__)
        rows = np.concatenate([nearer, np.array(as_near, np.int64)])
        self._keep(query, rows, exact[rows])

    def _keep(self, query: int, rows: np.ndarray, exact: np.ndarray) -> None:
        """Sort the candidates of a query, (m,), and keep the nearest."""
        count = self._count
        order = exact.argsort()[: -count - 2 : -1]  # one more, for whether it is equally near
        foremost = exact[order].tolist()
        if len(set(foremost)) < len(foremost):
            near = np.flatnonzero(exact >= foremost[count - 1])
            ids = [self._store.ids[row] for row in rows[near].tolist()]
            ranks = list(zip((-exact[near]).tolist(), ids, strict=True))
            order = near[sorted(range(len(near)), key=ranks.__getitem__)]
        self.rows[query], self.products[query] = rows[order[:count]], exact[order[:count]]
        self._settled[query] = True
