"""Measure how full a memory is, by leave-one-out predictions of all its examples."""

from collections.abc import Sequence

import numpy as np

from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import SCALE, FeatureMap
from ait_lite.class_memory.readouts import one_hot
from ait_lite.class_memory.results import Fullness
from ait_lite.class_memory.ridge import Ridge

_CHUNK = 1024


def leave_one_out(
    store: ExampleStore, rows: np.ndarray, ridge: Ridge, features: FeatureMap, labels: Sequence[str]
) -> np.ndarray:
    """Predict stored examples as if each had never been stored.

    Args:
        store: The examples.
        rows: Which of them, shape (n,).
        ridge: The regression solved on all of them.
        features: The features it was solved on, of integer keys.
        labels: All labels, sorted.

    Returns:
        Scores of the labels, shape (n, C).
    """
    targets = one_hot([store.labels[row] for row in rows], labels)
    return ridge.leave_one_out(features(store.keys(rows)) / SCALE, targets)


def measure_fullness(
    store: ExampleStore, ridge: Ridge, features: FeatureMap, labels: Sequence[str], random_features: int
) -> Fullness:
    """Measure how full a memory is.

    Args:
        store: The examples, at least one.
        ridge: The regression solved on them.
        features: The features it was solved on, of integer keys.
        labels: All labels, sorted.
        random_features: Number of random features among these; 0 where they are the keys.
    """
    rows = store.sample(len(store))
    margins = np.empty(len(rows))
    own = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), _CHUNK):
        part = slice(start, start + _CHUNK)
        targets = one_hot([store.labels[row] for row in rows[part]], labels)
        predicted = leave_one_out(store, rows[part], ridge, features, labels)
        own[part] = targets.argmax(axis=1)
        true = np.take_along_axis(predicted, own[part][:, None], axis=1)[:, 0]
        others = np.where(targets > 0, -np.inf, predicted).max(axis=1)
        margins[part] = true - np.where(np.isfinite(others), others, 0.0)  # a single label: no other score
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
