"""Remedies for classes with few images: visit them more often, or weigh them more."""

import torch
from torch import Tensor

from training.seeds import stream


def balanced_order(labels: Tensor, seed: int, epoch: int) -> Tensor:
    """Draw an epoch's visits, with replacement and with a weight inverse to the frequency of the class.

    As many visits as images; every class that occurs gets the same share of them on average. A pure function
    of labels, seed and epoch.

    Args:
        labels: (N,) int64.
        seed: The recipe's.
        epoch: Which epoch.

    Returns:
        (N,) int64 positions.
    """
    generator = stream(seed, epoch, "order")
    _, place, counts = torch.unique(labels, return_inverse=True, return_counts=True)
    by_class = place.argsort(stable=True)  # positions, one class after another
    first = counts.cumsum(0) - counts
    # A class, then one of its images: the same chances as weights an image, without torch.multinomial's limit
    # of 2^24 of them. In float64, so that every image of a large class can be met.
    chosen = torch.randint(len(counts), (len(labels),), generator=generator)
    within = torch.rand(len(labels), dtype=torch.float64, generator=generator) * counts[chosen]
    visits: Tensor = by_class[first[chosen] + within.long()]
    return visits


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """Compute weights of the classes in the loss, inverse to their frequency.

    Their mean over the images is 1, so that the loss, and with it the learning rate, keeps its scale.

    Args:
        labels: (N,) int64.
        classes: How many classes the model knows; those without images get 0.

    Returns:
        (classes,) float32.
    """
    counts = labels.bincount(minlength=classes).double()
    present = int((counts > 0).sum())
    weights = torch.where(counts > 0, len(labels) / (present * counts.clamp(min=1)), 0.0)
    return weights.float()
