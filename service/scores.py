"""From a model's logits to the labels of an answer, with NumPy, wherever the model is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Labels = list[tuple[str, float]]  # (label, score in [0, 1]), the highest score first


def softmax(logits: np.ndarray, temperature: float | None = None) -> np.ndarray:
    """Turn logits into probabilities.

    Args:
        logits: Float32 (n, classes).
        temperature: What logits are divided by, so that confidence is accuracy; None leaves them as they are.

    Returns:
        Float32 of the same shape; each row adds up to 1.
    """
    if temperature is not None:
        logits = logits / np.float32(temperature)
    exponentials = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities: np.ndarray = exponentials / exponentials.sum(-1, keepdims=True)
    return probabilities


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Turn logits (n, classes) of classes that do not exclude each other into probabilities of each, float32."""
    probabilities: np.ndarray = (0.5 * (1.0 + np.tanh(0.5 * logits))).astype(np.float32)
    return probabilities


def highest(values: np.ndarray, count: int) -> np.ndarray:
    """Find the classes with the highest values.

    Args:
        values: (n, classes).
        count: How many of each row; more than there are classes means all.

    Returns:
        Their indices (n, count), the highest first and of equal ones the first one first.
    """
    return np.argsort(-values, axis=-1, kind="stable")[:, :count]


def labelled(classes: Sequence[int], probabilities: Sequence[float], labels: Sequence[str]) -> Labels:
    """Label classes, with scores of six decimals."""
    return [(labels[index], round(score, 6)) for index, score in zip(classes, probabilities, strict=True)]


def best_labels(probabilities: np.ndarray, labels: Sequence[str], top_k: int) -> list[Labels]:
    """Label the `top_k` most probable classes of each row of (n, classes); scores have six decimals."""
    order = highest(probabilities, top_k)
    scores = np.take_along_axis(probabilities, order, -1)
    return [labelled(*row, labels) for row in zip(order.tolist(), scores.tolist(), strict=True)]
