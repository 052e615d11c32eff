"""Answers to queries: labels with scores, how sure, by which examples, and what would be said without the best one."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from ait_lite.class_memory.examples.search import search
from ait_lite.class_memory.examples.store import ExampleStore
from ait_lite.class_memory.features import SCALE
from ait_lite.class_memory.negatives import NegativeLabels
from ait_lite.class_memory.readouts import Readout
from ait_lite.class_memory.results import Evidence, Recall

# Nearest examples among which the strongest is looked for, whatever number is named: it is a part of the answer. As
# many as are named by default: looking among more would make every answer take longer.
SUPPORTERS: Final = 5


def answer(
    queries: np.ndarray,
    store: ExampleStore,
    readout: Readout,
    counts: Mapping[str, int],
    negatives: NegativeLabels,
    distances: np.ndarray,
    unknown_level: float,
    evidence: int,
) -> list[Recall]:
    """Answer queries from stored examples.

    Args:
        queries: Integer queries, shape (b, d), b at least 1.
        store: The examples, at least one.
        readout: How labels are read out of them.
        counts: Number of examples of each label.
        negatives: Which of these labels are negative.
        distances: Sorted products of every example with the nearest other, shape (n,).
        unknown_level: A query is unknown where its p-value is at most this.
        evidence: Number of nearest examples to name.
    """
    labels = tuple(sorted(counts))
    cosines = store.cosines(queries) if readout.compares_all else None
    rows, products = search(store, queries, max(SUPPORTERS, evidence), cosines)
    scores = readout.scores(queries, cosines)
    code = {label: index for index, label in enumerate(labels)}
    codes = np.array([[code[store.labels[row]] for row in near] for near in rows.tolist()])
    keys = store.keys(rows)  # (b, k, d)
    weights = readout.weights(queries, cosines, keys, codes)
    winners = negatives.best(scores)
    plain = not negatives.present

    # The strongest of the nearest examples for the winning label, where there is one.
    near = slice(SUPPORTERS)
    supporting = np.where(codes[:, near] == winners[:, None], weights[:, near], -np.inf)
    strongest = supporting.argmax(axis=1)
    chosen = np.arange(len(queries)), strongest
    left = readout.without(scores, weights[chosen], queries, keys[chosen], codes[chosen])
    only = np.array([counts[labels[each]] == 1 for each in codes[chosen].tolist()])
    left[only, codes[chosen][only]] = -np.inf  # without its only example there is no such label
    runners = left.argmax(axis=1).tolist()
    supported = np.isfinite(supporting[chosen]).tolist()
    named = _name(rows[:, :evidence], products[:, :evidence], weights[:, :evidence], store)

    p_values = _p_values(products[:, 0], distances)
    unknown = (p_values <= unknown_level).tolist()
    strongest_rows = rows[chosen].tolist()
    several = len(store) > 1
    return [
        Recall(
            label=labels[winner] if negatives.labels else "",
            labels=labels,
            scores=scores[i],
            p_value=p_value,
            resolution=1.0 / (len(store) + 1),
            unknown=unknown[i],
            evidence=named[i],
            strongest=store.ids[strongest_rows[i]] if plain and supported[i] else None,
            label_without_strongest=labels[runners[i] if supported[i] else winner] if plain and several else None,
        )
        for i, (winner, p_value) in enumerate(zip(winners.tolist(), p_values.tolist(), strict=True))
    ]


def _name(
    rows: np.ndarray, products: np.ndarray, weights: np.ndarray, store: ExampleStore
) -> list[tuple[Evidence, ...]]:
    similarities = np.minimum(products / SCALE**2, 1.0).tolist()  # rounded keys are not quite of unit length
    ids, labels = store.ids, store.labels
    return [
        tuple(
            map(
                Evidence._make,
                zip([ids[row] for row in near], [labels[row] for row in near], alike, adds, strict=True),
            )
        )
        for near, alike, adds in zip(rows.tolist(), similarities, weights.tolist(), strict=True)
    ]


def _p_values(products: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Conformal p-values of queries from their product with the nearest key, shape (b,)."""
    at_least_as_far = np.searchsorted(distances, products, side="right")
    return (1.0 + at_least_as_far) / (len(distances) + 1.0)
