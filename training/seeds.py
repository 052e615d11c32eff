"""Random streams as pure functions of the recipe's seed and the epoch.

Every source of chance in a run is seeded anew at the start of an epoch, so a run that continues at an epoch
needs no saved generator state to repeat what an uninterrupted run does.
"""

import zlib

import numpy as np
import torch


def stream_seed(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed for one purpose in one epoch; streams of different purposes are independent."""
    words = np.random.SeedSequence([seed, epoch, zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)
    return int(words[0]) >> 1


def stream(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose in one epoch."""
    return torch.Generator().manual_seed(stream_seed(seed, epoch, purpose))


def epoch_order(count: int, seed: int, epoch: int) -> torch.Tensor:
    """The order in which an epoch visits `count` images: (count,) int64, a permutation."""
    return torch.randperm(count, generator=stream(seed, epoch, "order"))


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
