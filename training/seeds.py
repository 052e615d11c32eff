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
