"""Outer-product storage of discrete associations, and its scaling laws (arXiv 2310.02984).

Inputs x in 1..N, of Zipf probabilities ``p(x) ~ x^-alpha``, belong to outputs f(x) in 1..M. With input embeddings e_x
and output embeddings u_y, a memory stores and recalls (eq. 2 to 4)

    W = sum_x q(x) e_x u_f(x)^T,    f_q(x) = argmax_y e_x^T W u_y,    error = sum_x p(x) 1[f_q(x) != f(x)].

How much each association is stored, q, decides how the error falls with the width d and the number T of samples.
"""

import math
from typing import Final

import torch
from torch import Tensor

SCHEMES: Final = ("power", "threshold")


def zipf(count: int, exponent: float) -> Tensor:
    """Compute Zipf probabilities ``p(x) ~ (x + 1)^-alpha``.

    Args:
        count: Number N of inputs.
        exponent: alpha, positive.

    Returns:
        Probabilities in float64, shape (N,).

    Raises:
        ValueError: If there is no input, or the exponent is not positive.
    """
    if count < 1 or exponent <= 0:
        raise ValueError(f"Need count >= 1 and exponent > 0, got {count=} and {exponent=}.")
    weights = torch.arange(1, count + 1, dtype=torch.float64) ** -exponent
    return weights / weights.sum()


def storage_weights(frequency: Tensor, scheme: str = "power", power: float = 1.0, kept: int | None = None) -> Tensor:
    """Choose how strongly each association is stored.

    Args:
        frequency: Probabilities or counts of the inputs, the most frequent input first, shape (..., N).
        scheme: ``power``: ``q = frequency^power``, where a power of 0 stores every input that was seen alike;
            ``threshold``: ``q = 1`` for the first ``kept`` inputs that were seen, 0 for the others.
        power: rho, at least 0.
        kept: Inputs that ``threshold`` keeps; the paper takes d/8.

    Returns:
        q, shape (..., N).

    Raises:
        ValueError: If the scheme is unknown, or its parameter is out of range.
    """
    seen = (frequency > 0).to(frequency.dtype)
    if scheme == "power":
        if power < 0:
            raise ValueError(f"power is at least 0, got {power}.")
        return seen * frequency.clamp_min(torch.finfo(frequency.dtype).tiny) ** power
    if scheme == "threshold":
        if kept is None or kept < 0:
            raise ValueError(f"threshold needs kept >= 0, got {kept}.")
        rank = torch.arange(frequency.shape[-1], device=frequency.device)
        return seen * (rank < kept)
    raise ValueError(f"Unknown scheme {scheme!r}; choose one of {', '.join(SCHEMES)}.")


def store(inputs: Tensor, outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Write associations into a matrix: ``W = sum_x q(x) e_x u_f(x)^T``.

    Args:
        inputs: Embeddings e, shape (..., N, d).
        outputs: Embeddings u, shape (..., M, d_u).
        targets: f, shape (N,).
        weights: q, shape (..., N).

    Returns:
        W, shape (..., d, d_u).
    """
    return (weights.unsqueeze(-1) * inputs).mT @ outputs[..., targets, :]


def recall_scores(inputs: Tensor, memory: Tensor, outputs: Tensor) -> Tensor:
    """Score every output for every input: ``e_x^T W u_y``.

    Args:
        inputs: Shape (..., N, d).
        memory: Shape (..., d, d_u).
        outputs: Shape (..., M, d_u).

    Returns:
        Scores, shape (..., N, M); their softmax over the last dimension is the map of stored associations.
    """
    return inputs @ (memory @ outputs.mT)


def recall_error(scores: Tensor, targets: Tensor, probabilities: Tensor) -> Tensor:
    """Weigh the inputs whose best output is wrong by their probability.

    An input with the same score for every output, such as one of which nothing is stored, counts as a guess: wrong
    with probability ``(M - 1) / M``.

    Args:
        scores: Shape (..., N, M).
        targets: f, shape (N,).
        probabilities: p, shape (N,).

    Returns:
        Errors, shape (...).
    """
    wrong = (scores.argmax(-1) != targets).to(probabilities.dtype)
    guessed = (scores == scores[..., :1]).all(-1)
    outputs = scores.shape[-1]
    return torch.where(guessed, (outputs - 1) / outputs, wrong) @ probabilities


def unseen_error(probabilities: Tensor, samples: int, outputs: int) -> Tensor:
    """Compute the expected error of an unlimited memory after T independent samples.

    Only what was never seen is guessed (derived here): ``(M - 1)/M sum_x p(x) (1 - p(x))^T``.

    Args:
        probabilities: p, shape (N,).
        samples: T, at least 0.
        outputs: Number M of outputs.

    Returns:
        The expected error, a scalar.
    """
    return (outputs - 1) / outputs * (probabilities * (1 - probabilities) ** samples).sum()


def width_exponent(exponent: float, scheme: str = "power", power: float = 1.0) -> float:
    """Predict the slope of log error against log width (arXiv 2310.02984, section 3).

    Args:
        exponent: alpha of Zipf's law, above 1.
        scheme: ``power`` or ``threshold``.
        power: rho of the power scheme, above 0.

    Returns:
        ``-(alpha - 1) / (2 alpha rho)`` for a power, ``-(alpha - 1)`` for the threshold.

    Raises:
        ValueError: If there is no such law.
    """
    if exponent <= 1 or (scheme == "power" and power <= 0) or scheme not in SCHEMES:
        raise ValueError(f"No law for {exponent=}, {scheme=}, {power=}.")
    return -(exponent - 1) if scheme == "threshold" else -(exponent - 1) / (2 * exponent * power)


def sample_exponent(exponent: float) -> float:
    """Predict the slope of log error against log samples of an unlimited memory: ``-1 + 1/alpha``."""
    if exponent <= 1:
        raise ValueError(f"The exponent of Zipf's law is above 1, got {exponent}.")
    return -1 + 1 / exponent


def storage_strength(rate: float, outputs: int, steps: int, centred: bool = False) -> Tensor:
    """Follow the strength with which repeated one-sample gradient steps store an association.

    ``q <- q + rate / (1 + e^q / (M - 1))`` (arXiv 2310.02984): the gradient of cross-entropy is what is missing to the
    probability of the right output, if the others score zero. They do not: each step also lowers them. For orthonormal
    embeddings the margin between the right and any other output then grows exactly ``M / (M - 1)`` times as fast
    (derived here): ``centred=True``.

    Args:
        rate: Step of gradient descent, positive.
        outputs: Number M of outputs, at least 2.
        steps: Number of steps.
        centred: Follow the margin, exact for orthonormal embeddings.

    Returns:
        Strengths after 0 to `steps` steps in float64, shape (steps + 1,).

    Raises:
        ValueError: If an argument is out of range.
    """
    if rate <= 0 or outputs < 2 or steps < 0:
        raise ValueError(f"Need rate > 0, outputs >= 2 and steps >= 0, got {rate=}, {outputs=} and {steps=}.")
    factor = outputs / (outputs - 1) if centred else 1.0
    curve = [0.0]
    for _ in range(steps):
        curve.append(curve[-1] + factor * rate / (1 + math.exp(curve[-1]) / (outputs - 1)))
    return torch.tensor(curve, dtype=torch.float64)
