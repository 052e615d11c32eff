"""What a model answers to a batch, and what is made of all its rows at once.

A NumPy function takes microseconds to begin, whether for one row or for thirty: made for every request by itself,
probabilities and their order took a tenth of the front's time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from service.model_process.client import Reply
from service.scores import Labels, highest, labelled


class BatchOutputs:
    """The outputs of a batch; what not every request wants of them is made when the first one does.

    Attributes:
        values: Float32 (B, n), as the model gave them.
        seconds: That the batch took in the model.
    """

    def __init__(self, reply: Reply, probabilities: Callable[[np.ndarray], np.ndarray]) -> None:
        """Take the model's reply.

        Args:
            reply: With the array ``outputs``.
            probabilities: Makes probabilities of logits (B, n).
        """
        self.values, self.seconds = reply.arrays["outputs"], reply.seconds
        self._make_probabilities = probabilities

    @cached_property
    def finite(self) -> list[bool]:
        """Whether all numbers of a row are finite, by row."""
        found: list[bool] = np.isfinite(self.values).all(axis=-1).tolist()
        return found

    @cached_property
    def probabilities(self) -> np.ndarray:
        """Probabilities of the classes: float32 (B, n)."""
        return self._make_probabilities(self.values)

    @cached_property
    def order(self) -> np.ndarray:
        """Classes of each row (B, n), the most probable first."""
        return highest(self.probabilities, self.probabilities.shape[-1])


class Row(NamedTuple):
    """The output of one input: a row of its batch's."""

    batch: BatchOutputs
    place: int

    @property
    def values(self) -> np.ndarray:
        """Float32 (1, n)."""
        return self.batch.values[self.place : self.place + 1]

    @property
    def finite(self) -> bool:
        """Whether all numbers are finite."""
        return self.batch.finite[self.place]

    def best_labels(self, labels: Sequence[str], top_k: int) -> Labels:
        """Label the `top_k` most probable classes, as `service.scores.best_labels`."""
        order = self.batch.order[self.place, :top_k]
        return labelled(order.tolist(), self.batch.probabilities[self.place, order].tolist(), labels)
