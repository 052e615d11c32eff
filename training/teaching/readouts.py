"""Labels that the readouts of a memory of classes give to many images at once."""

from typing import Final

import numpy as np

from ait_lite.class_memory import ClassMemory

# The Hopfield readout weighs every example for each query: of 50,000 examples these weights take 50 MB at a time.
_QUERIES: Final = 256


def read_labels(memory: ClassMemory, queries: np.ndarray, readout: str) -> list[str]:
    """Name the label with the highest score for each query, without looking for evidence.

    Args:
        memory: It has examples.
        queries: Feature vectors, shape (b, d).
        readout: One of `ait_lite.class_memory.READOUTS`.

    Raises:
        ValueError: As `ClassMemory.scores`.
    """
    labels = memory.labels
    found: list[str] = []
    for start in range(0, len(queries), _QUERIES):
        scores = memory.scores(queries[start : start + _QUERIES], readout=readout)
        found += [labels[best] for best in scores.argmax(axis=1).tolist()]
    return found
