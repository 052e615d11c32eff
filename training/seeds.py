"""Random streams as pure functions of the recipe's seed and the number of an epoch or a step.

Every source of chance in a run is seeded anew for every epoch or step, so a run that continues anywhere needs
no saved generator state to repeat what an uninterrupted run does.
"""

import zlib

import numpy as np
import torch


def stream_seed(seed: int, number: int, purpose: str) -> int:
    """Derive a seed for one purpose in one epoch or step; streams of different purposes are independent.

    Args:
        seed: The recipe's.
        number: Of the epoch or the step.
        purpose: Any name.

    Returns:
        A seed of 63 bits.
    """
    words = np.random.SeedSequence([seed, number, zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def stream(seed: int, number: int, purpose: str) -> torch.Generator:
    """Create a CPU generator for one purpose in one epoch or step, seeded as `stream_seed` says."""
    return torch.Generator().manual_seed(stream_seed(seed, number, purpose))


def epoch_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """Draw the order in which an epoch visits its images.

    Args:
        count: Images of the epoch.
        seed: The recipe's.
        epoch: Counted from 0.

    Returns:
        A permutation of the positions, (count,) int64.
    """
    return torch.randperm(count, generator=stream(seed, epoch, "order"))


def repeat_order(order: torch.Tensor, repeats: int) -> torch.Tensor:
    """Repeat each image of an order several times in a row (repeated augmentation, arXiv 1901.09335).

    The length stays the same. An epoch then sees a part of the images, each under several augmentations, most of
    them in one batch.

    Args:
        order: (n,) int64.
        repeats: How often an image comes; 1 leaves the order as it is.

    Returns:
        (n,) int64.
    """
    images = -(-len(order) // repeats)
    return order[:images].repeat_interleave(repeats)[: len(order)]


def image_seed(seed: int, epoch: int, index: int, repeat: int) -> int:
    """Derive a seed for one visit to one image.

    Args:
        seed: The recipe's.
        epoch: Which epoch.
        index: The image's position in the training set.
        repeat: How often the epoch has visited the image before.

    Returns:
        A seed of 63 bits.
    """
    words = np.random.SeedSequence([seed, epoch, zlib.crc32(b"image"), index, repeat]).generate_state(1, np.uint64)
    return int(words[0]) >> 1
