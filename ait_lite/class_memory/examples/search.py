"""Find the nearest examples of a store, compared exactly."""

import heapq

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
    found = _Found(store, keys, count)
    bounds = store.bounds.of(keys, store) if cosines is None and _worthwhile(store, count) else None
    if bounds is not None:
        found.look(bounds, np.arange(len(keys)))
    left = found.left
    if len(left):
        found.look(store.cosines(keys[left]) if cosines is None else cosines[left], left)
        if bounds is not None:
            # What even the cosines do not settle is not the bounds' fault.
            store.bounds.note(2 * (len(left) - len(found.left)) <= len(keys))
        for query in found.left:  # more are equally near than are worth a list
            found.compare_all(int(query))
    elif bounds is not None:
        store.bounds.note(True)
    return found.rows, found.products


def _worthwhile(store: ExampleStore, count: int) -> bool:
    """Tell whether bounds can leave little enough: not where nearly all examples are wanted."""
    return 8 * _most_candidates(len(store), count) <= len(store)


def _most_candidates(examples: int, count: int) -> int:
    """Count the products of a query that may be computed exactly: more cost more than all of them do in float32."""
    return max(examples // 256, 4 * count + 64)


class _Found:
    """The nearest examples of some queries, as far as they have been found.

    Attributes:
        rows: (b, k).
        products: (b, k), integer.
    """

    def __init__(self, store: ExampleStore, keys: np.ndarray, count: int) -> None:
        self._store, self._keys, self._count = store, keys, count
        self.rows = np.zeros((len(keys), count), np.int64)
        self.products = np.zeros((len(keys), count))
        self._settled = np.zeros(len(keys), bool)

    @property
    def left(self) -> np.ndarray:
        """The queries whose nearest examples are not known yet."""
        return np.flatnonzero(~self._settled)

    def look(self, scores: np.ndarray, queries: np.ndarray) -> None:
        """Find the nearest examples of some queries (q,), by scores (q, n) that are no less than their cosines.

        Queries of which too many examples can be the nearest are left.
        """
        keys, blocks = self._keys[queries], Blocks(scores)
        rows = blocks.largest(min(self._count + _MORE, len(self._store)))
        exact = (self._store.keys(rows) @ keys[:, :, None])[:, :, 0]
        least = np.partition(exact, -self._count, axis=1)[:, -self._count] / SCALE**2 - ROUNDING
        # What is not among these has a smaller score: mostly one that says that it is not as near.
        settled = picked(scores, rows).min(axis=1) < least
        bounds = np.where(settled, np.inf, least).astype(np.float32)
        which, where, too_many = blocks.at_least(bounds, _most_candidates(len(self._store), self._count))
        if len(which):
            rows, exact = self._widened(keys, rows, exact, which, where)
        self._keep(queries[~too_many], rows[~too_many], exact[~too_many])

    def compare_all(self, query: int) -> None:
        """Find the nearest examples of one query by its products with all."""
        store, count, step = self._store, self._count, max(_NUMBERS // self._keys.shape[1], 1)
        parts = range(0, len(store), step)
        exact = np.concatenate([store.keys(slice(start, start + step)) @ self._keys[query] for start in parts])
        least = np.partition(exact, -count)[-count]
        nearer = np.flatnonzero(exact > least)
        as_near = heapq.nsmallest(count - len(nearer), np.flatnonzero(exact == least), key=store.ids.__getitem__)
        rows = np.concatenate([nearer, np.array(as_near, np.int64)])
        self._keep(np.array([query]), rows[None], exact[rows][None])

    def _widened(
        self, keys: np.ndarray, rows: np.ndarray, exact: np.ndarray, which: np.ndarray, where: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Put pairs of a query and an example, (p,) each, in the place of the candidates (b, m) of those queries.

        Products are -inf where a query has fewer candidates than others.
        """
        counts = np.bincount(which, minlength=len(keys))
        width = max(rows.shape[1], int(counts.max()))
        wider, products = np.zeros((len(keys), width), np.int64), np.full((len(keys), width), -np.inf)
        kept = counts == 0
        wider[kept, : rows.shape[1]], products[kept, : rows.shape[1]] = rows[kept], exact[kept]
        place = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
        wider[which, place] = where
        ends = np.cumsum(counts)
        for query in np.flatnonzero(counts):
            own = slice(ends[query] - counts[query], ends[query])
            products[query, : counts[query]] = self._store.keys(where[own]) @ keys[query]
        return wider, products

    def _keep(self, queries: np.ndarray, rows: np.ndarray, exact: np.ndarray) -> None:
        """Sort the candidates (q, m) of queries (q,), and keep the nearest."""
        count = self._count
        order = np.argsort(-exact, axis=1)
        rows, exact = picked(rows, order), picked(exact, order)
        foremost = exact[:, : count + 1]
        for place in np.nonzero((foremost[:, 1:] == foremost[:, :-1]).any(axis=1))[0]:
            near = int((exact[place] >= exact[place, count - 1]).sum())
            ids = [self._store.ids[row] for row in rows[place, :near]]
            ranks = list(zip((-exact[place, :near]).tolist(), ids, strict=True))
            rows[place, :near] = rows[place, sorted(range(near), key=ranks.__getitem__)]
        self.rows[queries], self.products[queries] = rows[:, :count], exact[:, :count]
        self._settled[queries] = True
