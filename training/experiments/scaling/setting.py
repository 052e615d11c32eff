"""Associations as the paper draws them: Zipf inputs, outputs by remainder, Gaussian inputs and unit outputs."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ait.memory.storage import recall_error, recall_scores, store

OUTPUTS = 5


def targets(inputs: int) -> Tensor:
    """Assign output ``x mod M`` to input x; shape (N,)."""
    return torch.arange(inputs) % OUTPUTS


def embeddings(trials: int, inputs: int, dim: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw embeddings.

    Args:
        trials: Number R of memories.
        inputs: Number N of inputs.
        dim: Width d.
        generator: Source of randomness.

    Returns:
        e ~ N(0, I/d), shape (R, N, d), and u of unit length, shape (R, M, d).
    """
    keys = torch.randn(trials, inputs, dim, generator=generator) / dim**0.5
    return keys, F.normalize(torch.randn(trials, OUTPUTS, dim, generator=generator), dim=-1)


def error(keys: Tensor, outputs: Tensor, weights: Tensor, probabilities: Tensor) -> float:
    """Store with weights (R, N) or (N,), recall everything, and average the error over the trials."""
    labels = targets(keys.shape[-2])
    weights = weights.float().expand(keys.shape[:-1])
    scores = recall_scores(keys, store(keys, outputs, labels, weights), outputs)
    return float(recall_error(scores, labels, probabilities).mean())
