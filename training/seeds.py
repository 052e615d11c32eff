"""Random streams as pure functions of the recipe's seed and the number of an epoch or a step.

Every source of chance in a run is seeded anew for every epoch or step, so a run that continues anywhere needs
no saved generator state to repeat what an uninterrupted run does.
"""

import zlib

import numpy as np
import torch


def stream_seed(seed: int, number: int, purpose: str) -> int:
    """A 63-bit seed for one purpose in one epoch or step; streams of different purposes are independent."""
    words = np.random.SeedSequence([seed, number, zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def stream(seed: int, number: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose in one epoch or step."""
    return torch.Generator().manual_seed(stream_seed(seed, number, purpose))


def epoch_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """The order in which an epoch visits `count` images: (count,) int64, a permutation."""
    return torch.randperm(count, generator=stream(seed, epoch, "order"))


def repeat_order(order: torch.Tensor, repeats: int) -> torch.Tensor:
    """Repeated augmentation (arXiv 1901.09335): each image `repeats` times in a row, in an order of the same length.

    An epoch then sees a part of the images, each under several augmentations, most of them in one batch.

    Args:
        order: (n,) int64.
        repeats: How often an image comes; 1 leaves the order as it is.
    """
    images = -(-len(order) // repeats)
    return order[:images].repeat_interleave(repeats)[: len(order)]


def image_seed(seed: int, epoch: int, index: int, repeat: int) -> int:
    """A 63-bit seed for one visit to one image.

    Args:
        seed: The recipe's.
        epoch: Which epoch.
        index: The image's position in the training set.
        repeat: How often the epoch has visited the image before.
    """
    words = np.random.SeedSequence([seed, epoch, zlib.crc32(b"image"), index, repeat]).generate_state(1, np.uint64)
    return int(words[0]) >> 1
