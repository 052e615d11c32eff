"""How a model's logits become the answers that people get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ait_lite.checkpoint import named_labels, read_temperature

THRESHOLD: Final = 0.5  # of a class that the configuration names none for


@dataclass(frozen=True)
class Answering:
    """What is made of logits.

    Attributes:
        temperature: What logits are divided by before the softmax; None divides them by nothing.
        thresholds: Of a model that tells any number of classes an image, from which probability each is told, one a
            class or one for all; None for a model whose classes exclude each other.
    """

    temperature: float | None = None
    thresholds: tuple[float, ...] | None = None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Answering:
        """Read it from a checkpoint's configuration.

        Raises:
            CheckpointError: The temperature is none.
        """
        if not config.get("multi_label"):
            return cls(read_temperature(config))
        given = config.get("thresholds") or {}
        return cls(None, tuple(given.get(name, THRESHOLD) for name in named_labels(config)) or (THRESHOLD,))

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits (N, C) into probabilities, float64 (N, C)."""
        scaled = logits.astype(np.float64)
        if self.thresholds is not None:
            return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scaled)))  # the sigmoid, without overflow
        scaled /= self.temperature or 1.0
        exponentials = np.exp(scaled - scaled.max(-1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(-1, keepdims=True))

    def told(self, logits: np.ndarray) -> np.ndarray:
        """Say which classes are told of each image: the best, or all that reach their thresholds; bool (N, C)."""
        if self.thresholds is not None:
            return np.asarray(self.probabilities(logits) >= np.array(self.thresholds))
        return np.asarray(np.arange(logits.shape[-1]) == logits.argmax(-1)[:, None])
