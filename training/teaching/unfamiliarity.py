"""How well a score of unfamiliarity tells unknown images from known ones."""

import torch
from torch import Tensor


def auroc(known: Tensor, unknown: Tensor) -> float:
    """Compute the probability that an unknown image scores above a known one; one half where equal.

    Args:
        known: Scores of known images, shape (n,).
        unknown: Scores of unknown images, shape (m,).
    """
    ordered = known.double().sort().values
    unknown = unknown.double()
    below = torch.searchsorted(ordered, unknown)
    at_most = torch.searchsorted(ordered, unknown, right=True)
    return float((below + at_most).double().mean() / (2 * len(known)))


def false_positive_rate(known: Tensor, unknown: Tensor, kept: float = 0.95) -> float:
    """Compute the share of unknown images that pass, where a share of the known ones must.

    Args:
        known: Scores of known images, shape (n,); the higher, the less familiar.
        unknown: Scores of unknown images, shape (m,).
        kept: Share of the known images that pass.
    """
    place = min(int(kept * len(known)), len(known) - 1)
    threshold = known.double().sort().values[place]
    return float((unknown.double() <= threshold).double().mean())


def kth_distance(queries: Tensor, stored: Tensor, k: int = 10) -> Tensor:
    """Compute the distance of each query (n, d) to its k-th nearest stored vector (m, d); shape (n,)."""
    return torch.cdist(queries, stored).kthvalue(min(k, len(stored)), dim=1).values


def logit_energy(logits: Tensor) -> Tensor:
    """Compute ``-log sum exp`` of logits (n, C), which is high where no class is sure; shape (n,)."""
    return -logits.logsumexp(-1)


def max_softmax(logits: Tensor) -> Tensor:
    """Compute the negative probability of the likeliest class, from logits (n, C); shape (n,)."""
    return -logits.softmax(-1).amax(-1)
