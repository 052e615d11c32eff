"""Measures of how much a memory holds and how it is used."""

import torch
from torch import Tensor


def effective_rank(rows: Tensor) -> float:
    """Count the directions that rows (M, D) spread over: ``exp(-sum p ln p)``, ``p = s^2 / sum s^2``.

    ``s`` are the singular values. A memory whose rows are all equal has effective rank 1, one of zeros 0.
    """
    energy = torch.linalg.svdvals(rows.double()).square()
    if not energy.any():
        return 0.0
    share = energy / energy.sum()
    return float(torch.special.entr(share).sum().exp())


def perplexity(weights: Tensor) -> Tensor:
    """Perplexity ``exp(-sum p ln p)`` of distributions over the last dimension: (..., M) to (...)."""
    return torch.special.entr(weights.double()).sum(-1).exp()


def retrieval_snr(weights: Tensor, patterns: Tensor) -> Tensor:
    """Signal over noise of what each recall distribution returns (arXiv 2505.19488).

    The signal of a recall is the strongest pattern, ``c y_i`` with ``c = p_i``; the noise is the rest,
    ``r = sum_{j != i} p_j y_j``; SNR = ``|c y_i|^2 / |r|^2``.

    Args:
        weights: Recall weights, shape (..., M).
        patterns: Stored patterns, shape (M, E).

    Returns:
        SNR, shape (...).
    """
    strongest, index = weights.max(-1)
    signal = strongest.unsqueeze(-1) * patterns[index]
    noise = weights @ patterns - signal
    return signal.square().sum(-1) / noise.square().sum(-1).clamp_min(torch.finfo(weights.dtype).tiny)
