"""Keys as trained models give them."""

import numpy as np

from ait_lite.class_memory.examples.sketch import DIRECTIONS
from ait_lite.class_memory.features import quantise

DIM = 2 * DIRECTIONS


def in_few_directions(count: int, seed: int, noise: float = 0.05) -> np.ndarray:
    """Integer keys that differ mostly in a dozen directions, as the features of a trained model do."""
    directions = np.random.default_rng(0).standard_normal((12, DIM))
    random = np.random.default_rng(seed)
    return quantise(random.standard_normal((count, 12)) @ directions + noise * random.standard_normal((count, DIM)))
