"""The examples of a memory: identifiers, labels and integer keys, and how near each key is to its nearest other."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ait_lite.class_memory.examples.bounds import Bounds
from ait_lite.class_memory.examples.columns import columns, widened
from ait_lite.class_memory.examples.sketch import ROUNDING
from ait_lite.class_memory.features import SCALE

_CHUNK = 256
_TILE_ROWS, _TILE_COLUMNS = 256, 1024


def example_digest(identifier: str, label: str, key: np.ndarray) -> bytes:
    """Hash one example with SHA-256; its integer key has shape (d,)."""
    digest = hashlib.sha256()
    for part in (identifier.encode(), label.encode(), key.astype("<i2").tobytes()):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


class ExampleStore:
    """Growing arrays of examples. Removing one moves the last into its row, so rows have no lasting meaning.

    Args:
        dim: Width d of a key.
    """

    def __init__(self, dim: int) -> None:
        self.rows: dict[str, int] = {}  # id -> row
        self.ids: list[str] = []
        self.labels: list[str] = []
        self.digests: list[bytes] = []
        self._keys = np.empty((0, dim), np.int16)
        self._unit = columns(dim, 0)  # a column per key: products with one query run along memory
        self._order = np.empty(0, np.uint64)  # first bytes of the digest: an order that is no one's choice
        self._nearest = np.empty(0)  # largest product with any other key; NaN where it must be found anew
        self.bounds = Bounds()

    def __len__(self) -> int:
        return len(self.ids)

    def copy(self) -> "ExampleStore":
        """Copy the examples; neither changes with the other."""
        count = len(self)
        copied = ExampleStore(len(self._unit))
        copied.rows = dict(self.rows)
        copied.ids, copied.labels, copied.digests = list(self.ids), list(self.labels), list(self.digests)
        copied._keys = self._keys[:count].copy()
        copied._unit = widened(self._unit[:, :count], count)
        copied._order, copied._nearest = self._order[:count].copy(), self._nearest[:count].copy()
        return copied

    def keys(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """Read integer keys as float64, shape (n, d)."""
        keys = self._keys[: len(self)]
        chosen = keys[rows] if isinstance(rows, slice) else keys.take(rows, axis=0)  # in half the time
        return chosen.astype(np.float64)

    def add(self, ids: Sequence[str], labels: Sequence[str], keys: np.ndarray) -> None:
        """Append new examples with integer keys (n, d)."""
        start, end = len(self), len(self) + len(ids)
        if end > len(self._keys):
            capacity = max(2 * len(self._keys), end, 64)
            self._keys = _grown(self._keys, capacity)
            self._unit = widened(self._unit, capacity)
            self._order = _grown(self._order, capacity)
            self._nearest = _grown(self._nearest, capacity)
        self._keys[start:end] = keys
        self._unit[:, start:end] = (keys / SCALE).T
        self._nearest[start:end] = np.nan
        self.bounds.add(keys)
        for offset, (identifier, label) in enumerate(zip(ids, labels, strict=True)):
            self.rows[identifier] = start + offset
            self.ids.append(identifier)
            self.labels.append(label)
            self.digests.append(b"")
            self._sign(start + offset)

    def relabel(self, row: int, label: str) -> None:
        """Change the label of one example."""
        self.labels[row] = label
        self._sign(row)

    def _sign(self, row: int) -> None:
        self.digests[row] = example_digest(self.ids[row], self.labels[row], self._keys[row])
        self._order[row] = int.from_bytes(self.digests[row][:8], "big")

    def remove(self, ids: Sequence[str]) -> None:
        """Remove examples."""
        self.bounds.drop()  # nothing of a forgotten example stays behind, as in the directions of the bounds
        removed = self._keys[[self.rows[identifier] for identifier in ids]].astype(np.float64)
        for identifier in ids:
            row, last = self.rows.pop(identifier), len(self) - 1
            columns: tuple[list[Any], ...] = (self.ids, self.labels, self.digests)
            for column in columns:
                column[row] = column[last]
                column.pop()
            for array in (self._keys, self._unit.T, self._order, self._nearest):
                array[row] = array[last]
                array[last] = 0
            if row != last:
                self.rows[self.ids[row]] = row
        self._forget_neighbours(removed)

    def _forget_neighbours(self, removed: np.ndarray) -> None:
        """Mark the examples whose nearest other key was one of the removed ones."""
        count = len(self)
        nearest = self._nearest[:count]
        for start in range(0, len(removed), _CHUNK):
            chunk = removed[start : start + _CHUNK]
            near = self.cosines(chunk) > nearest / SCALE**2 - ROUNDING  # false where NaN
            which, rows = np.nonzero(near)
            same = np.einsum("nd,nd->n", chunk[which], self.keys(rows)) == nearest[rows]
            nearest[rows[same]] = np.nan

    def nearest(self) -> np.ndarray:
        """Find for each example its largest product with any other key, exactly; shape (n,), -inf if it is alone."""
        count = len(self)
        nearest = self._nearest[:count]
        stale = np.nonzero(np.isnan(nearest))[0]
        nearest[stale] = -np.inf
        if not len(stale) or count == 1:
            return nearest.copy()
        tiles = range(0, count, _TILE_COLUMNS)
        largest = np.empty((len(stale), len(tiles)), np.float32)
        for start in range(0, len(stale), _TILE_ROWS):
            rows = stale[start : start + _TILE_ROWS]
            queries = (self.keys(rows) / SCALE).astype(np.float32)
            for number, first in enumerate(tiles):
                cosines = self._others(queries, rows, first)  # (r, c), small enough for a cache
                np.max(cosines, axis=1, out=largest[start : start + len(rows), number])
                if len(stale) < count:
                    self._raise_others(cosines, rows, first)
        # An exact maximum is looked for only where float32 leaves it possible: mostly in one tile of each row.
        bound = largest.max(axis=1) - 2 * ROUNDING
        for number, first in enumerate(tiles):
            possible = np.nonzero(largest[:, number] >= bound)[0]
            for start in range(0, len(possible), _TILE_ROWS):
                chosen = possible[start : start + _TILE_ROWS]
                rows = stale[chosen]
                cosines = self._others((self.keys(rows) / SCALE).astype(np.float32), rows, first)
                which, where = np.nonzero(cosines >= bound[chosen, None])
                self._raise_nearest(which, where, rows, first)
        return nearest.copy()

    def _others(self, queries: np.ndarray, rows: np.ndarray, first: int) -> np.ndarray:
        """Cosines of some rows with a tile of columns, shape (r, c); of an example with itself it is -inf."""
        cosines = queries @ self._unit[:, first : min(first + _TILE_COLUMNS, len(self))]
        inside = np.nonzero((rows >= first) & (rows < first + cosines.shape[1]))[0]
        cosines[inside, rows[inside] - first] = -np.inf
        return cosines

    def _raise_others(self, cosines: np.ndarray, rows: np.ndarray, first: int) -> None:
        """Raise the products of the columns of a tile, which were known before some rows (r,) came."""
        known = self._nearest[first : first + cosines.shape[1]] / SCALE**2 - ROUNDING
        known = np.maximum(known, -2)  # less than any cosine but that with itself, which is -inf
        columns = np.nonzero(cosines.max(axis=0) >= known)[0]
        which, where = np.nonzero(cosines[:, columns] >= known[columns])
        exact = np.einsum("nd,nd->n", self.keys(rows[which]), self.keys(first + columns[where]))
        np.maximum.at(self._nearest, first + columns[where], exact)

    def _raise_nearest(self, which: np.ndarray, where: np.ndarray, rows: np.ndarray, first: int) -> None:
        """Raise the products of `rows[which]` by those with the columns `first + where`, computed exactly."""
        exact = np.einsum("nd,nd->n", self.keys(rows[which]), self.keys(first + where))
        np.maximum.at(self._nearest, rows[which], exact)

    def restore_nearest(self, nearest: np.ndarray) -> None:
        """Take over products that `nearest` returned before, shape (n,)."""
        self._nearest[: len(self)] = nearest

    def cosines(self, keys: np.ndarray) -> np.ndarray:
        """Compute cosines of integer keys (b, d) with every example, in float32, shape (b, n)."""
        queries = (keys / SCALE).astype(np.float32)
        stored = self._unit[:, : len(self)]
        return (queries[0] @ stored)[None] if len(queries) == 1 else queries @ stored

    def sample(self, count: int) -> np.ndarray:
        """Choose up to `count` rows by the order of their digests: a function of the set of examples alone."""
        order = self._order[: len(self)]
        rows = np.argpartition(order, count)[:count] if count < len(self) else np.arange(len(self))
        return rows[np.argsort(order[rows])]

    def sorted_ids(self) -> list[str]:
        """Iterate over the identifiers in sorted order."""
        return sorted(self.ids)


def _grown(array: np.ndarray, capacity: int) -> np.ndarray:
    larger = np.zeros((capacity, *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger
