"""Measure how full a memory is, by leave-one-out predictions of all its examples."""

from collections.abc import Sequence

import numpy as np

from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.readouts import Readout, RidgeReadout, one_hot
from ait_lite.class_memory.results import Fullness

_CHUNK = 256  # rows of a product with all examples


def leave_one_out(store: ExampleStore, rows: np.ndarray, readout: Readout, labels: Sequence[str]) -> np.ndarray:
    """Score stored examples as if each had never been stored.

    Args:
        store: The examples.
        rows: Which of them, shape (n,).
        readout: Made of all of them.
        labels: All labels, sorted.

    Returns:
        Scores of the labels, shape (n, C).
    """
    code = {label: index for index, label in enumerate(labels)}
    codes = np.array([code[store.labels[row]] for row in rows])
    found = []
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        keys = store.keys(part)
        cosines = store.cosines(keys) if readout.compares_all else None
        found.append(readout.leave_one_out(keys, cosines, part, codes[start : start + _CHUNK]))
    return np.concatenate(found)


def measure_fullness(
    store: ExampleStore, readout: RidgeReadout, labels: Sequence[str], random_features: int
) -> Fullness:
    """Measure how full a memory is.

    Args:
        store: The examples, at least one.
        readout: The regression solved on them.
        labels: All labels, sorted.
        random_features: Number of random features that it was solved on; 0 where that is the keys.
    """
    rows = store.sample(len(store))
    margins = np.empty(len(rows))
    own = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        targets = one_hot([store.labels[row] for row in rows[part]], labels)
        predicted = leave_one_out(store, rows[part], readout, labels)
        own[part] = targets.argmax(axis=1)
        true = np.take_along_axis(predicted, own[part][:, None], axis=1)[:, 0]
        others = np.where(targets > 0, -np.inf, predicted).max(axis=1)
        margins[part] = true - np.where(np.isfinite(others), others, 0.0)  # a single label: no other score
    ridge = readout.ridge
    return Fullness(
        examples=len(store),
        width=len(ridge.eigenvalues),
        effective_dimension=ridge.effective_dimension,
        regularisation=ridge.regularisation,
        random_features=random_features,
        accuracy=float((margins > 0).mean()),
        margin_snr={label: _signed_snr(margins[own == index]) for index, label in enumerate(labels)},
    )


def _signed_snr(margins: np.ndarray) -> float:
    mean, variance = float(margins.mean()), float(margins.var())
    return float(np.sign(mean)) * (mean**2 / variance if variance > 0 else np.inf)
