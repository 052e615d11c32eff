"""What a memory computes from all of its examples when it is asked, and keeps until they change."""

from collections.abc import Sequence

import numpy as np

from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import SCALE, FeatureMap
from ait_lite.class_memory.negatives import NegativeLabels
from ait_lite.class_memory.readouts import (
    AssociativeReadout,
    HopfieldReadout,
    PrototypeReadout,
    Readout,
    Ridge,
    RidgeReadout,
    one_hot,
    solve,
)
from ait_lite.class_memory.sums import ExampleSums

# Examples that judge the regularisation. More would make an answer after teaching wait, and change the choice little.
_JUDGES = 1024


class Derived:
    """Readouts and distances of the examples as they are.

    Args:
        store: The examples.
        sums: Sums over them, of the keys first.
    """

    def __init__(self, store: ExampleStore, sums: Sequence[ExampleSums]) -> None:
        self._store = store
        self._sums = sums
        self._readouts: dict[tuple[str, float], Readout] = {}
        self._ridge: tuple[Ridge, FeatureMap] | None = None
        self._negatives: NegativeLabels | None = None
        self._distances: np.ndarray | None = None

    def drop(self) -> None:
        """Compute all anew when next asked: the examples have changed."""
        self._readouts.clear()
        self._ridge = None
        self._negatives = None
        self._distances = None

    def is_settled(self) -> bool:
        """Return True if distances and a readout have been computed."""
        return self._distances is not None and bool(self._readouts)

    def readout(self, name: str, beta: float) -> Readout:
        """Make a readout.

        Args:
            name: One of `ait_lite.class_memory.READOUTS`.
            beta: Inverse temperature of both Hopfield readouts.
        """
        if (name, beta) not in self._readouts:
            self._readouts[name, beta] = self._build(name, beta)
        return self._readouts[name, beta]

    def _build(self, name: str, beta: float) -> Readout:
        if name == "ridge":
            return RidgeReadout(*self.ridge())
        if name in ("hopfield", "associative"):
            make = HopfieldReadout if name == "hopfield" else AssociativeReadout
            return make(one_hot(self._store.labels, self._sums[0].labels, np.float32), beta)
        return PrototypeReadout(self._sums[0].class_sums())

    def ridge(self) -> tuple[Ridge, FeatureMap]:
        """Solve ridge on the keys, and on random features if there are any; take the smaller leave-one-out error."""
        if self._ridge is None:
            rows = self._store.sample(_JUDGES)
            targets = one_hot([self._store.labels[row] for row in rows], self._sums[0].labels)
            keys = self._store.keys(rows)
            solutions = [
                (
                    solve(sums.gram / SCALE**2, sums.class_sums() / SCALE, sums.features(keys) / SCALE, targets),
                    sums.features,
                )
                for sums in self._sums
            ]
            self._ridge = min(solutions, key=lambda solution: solution[0].error)
        return self._ridge

    def negatives(self) -> NegativeLabels:
        """Tell negative labels from the others."""
        if self._negatives is None:
            self._negatives = NegativeLabels(self._sums[0].labels)
        return self._negatives

    def distances(self) -> np.ndarray:
        """Sort the products of every example with the nearest other, shape (n,)."""
        if self._distances is None:
            self._distances = np.sort(self._store.nearest())
        return self._distances
