"""Made answers of a classifier."""

import torch
from torch import Tensor
from torch.nn import functional as F


def made_logits(seed: int, images: int = 200, classes: int = 5) -> tuple[Tensor, Tensor]:
    """Make (images, classes) logits that know something of the labels, and the labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (images,), generator=generator)
    return 2 * F.one_hot(labels, classes) + 2 * torch.randn(images, classes, generator=generator), labels
