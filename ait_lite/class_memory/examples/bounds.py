"""Bounds of the products of queries with all stored keys, kept while they pay."""

from typing import Final, Protocol

import numpy as np

from ait_lite.class_memory.examples.sketch import DIRECTIONS, Sketch
from ait_lite.class_memory.features import SCALE

# Making a sketch costs as much as what it saves with so many queries; fewer, and fewer examples, are not worth one.
_FEWEST_QUERIES: Final = 256
_FEWEST_EXAMPLES: Final = 4096
_SAMPLE: Final = 2048  # examples that choose its directions
_ROWS: Final = 1024  # that are read at a time
_MOST_MISSES: Final = 3
_PATIENCE: Final = 10_000  # queries until what did not pay is tried again


class Keys(Protocol):
    """Stored keys."""

    def __len__(self) -> int:
        """Count them."""

    def keys(self, rows: np.ndarray | slice) -> np.ndarray:
        """Read integer keys, shape (n, d)."""

    def sample(self, count: int) -> np.ndarray:
        """Choose up to `count` rows that stand for all."""


class Bounds:
    """A sketch of the keys of a store, which is made when enough is asked and dropped when it is of no use."""

    def __init__(self) -> None:
        self._sketch: Sketch | None = None
        self._made_for = 0  # examples
        self._asked = 0  # queries that had no sketch; below 0 while none is wanted
        self._misses = 0  # searches, one after the other, in which it left too much

    def of(self, keys: np.ndarray, stored: Keys) -> np.ndarray | None:
        """Bound the cosines of integer queries (b, d) with all stored keys from above, within `ROUNDING`.

        Returns:
            Float32, shape (b, n); None while a sketch would not pay.
        """
        queries = keys / SCALE
        sketch = self._sketch
        if sketch is None:
            due = self.due(len(queries), queries.shape[1], len(stored))
            self._asked += len(queries)
            if not due:
                return None
            sketch = Sketch(stored.keys(stored.sample(_SAMPLE)) / SCALE)
            for start in range(0, len(stored), _ROWS):
                sketch.add(stored.keys(slice(start, start + _ROWS)) / SCALE)
            self._sketch, self._made_for, self._misses = sketch, len(stored), 0
        return sketch.bounds(queries)

    def due(self, queries: int, width: int, examples: int) -> bool:
        """Return True if a sketch is made of all keys, of some width, when so many more queries are asked."""
        worthwhile = examples >= _FEWEST_EXAMPLES and width >= 2 * DIRECTIONS
        return worthwhile and self._sketch is None and self._asked + queries > _FEWEST_QUERIES

    def note(self, left_few: bool) -> None:
        """Note whether the bounds of a search have left few enough examples to compare."""
        self._misses = 0 if left_few else self._misses + 1
        if self._misses >= _MOST_MISSES:  # these keys differ in more directions
            self._sketch, self._asked = None, -_PATIENCE

    def add(self, keys: np.ndarray) -> None:
        """Take over new integer keys (n, d)."""
        if self._sketch is None:
            return
        if len(self._sketch) + len(keys) > 2 * self._made_for:
            self.drop()  # so many others may differ in other directions
        else:
            self._sketch.add(keys / SCALE)

    def drop(self) -> None:
        """Drop what was made of the keys."""
        self._sketch, self._asked = None, min(self._asked, 0)
