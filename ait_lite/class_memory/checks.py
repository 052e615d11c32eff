"""Refuse what a memory cannot be made of or be taught."""

from collections.abc import Sequence
from typing import Final

import numpy as np

READOUTS: Final = ("ridge", "hopfield", "associative", "prototype")

# A wider memory would hold matrices of more than two gigabytes; a file can ask for one that nobody has.
_WIDEST: Final = 16_384


def check_numbers(dim: int, random_features: int, seed: int, beta: float, unknown_level: float) -> None:
    """Check the numbers that a memory is made with.

    Raises:
        ValueError: One is out of range.
    """
    if not (1 <= dim <= _WIDEST and 0 <= random_features <= _WIDEST and seed >= 0):
        limits = f"dim in [1, {_WIDEST}], random_features in [0, {_WIDEST}] and seed >= 0"
        raise ValueError(f"Need {limits}, got {dim=}, {random_features=} and {seed=}.")
    if not (np.isfinite(beta) and beta > 0 and 0 <= unknown_level < 1):
        raise ValueError(f"Need beta > 0 and 0 <= unknown_level < 1, got {beta=} and {unknown_level=}.")


def check_readout(name: str) -> None:
    """Check the name of a readout.

    Raises:
        ValueError: There is none of this name.
    """
    if name not in READOUTS:
        raise ValueError(f"Unknown readout {name!r}; choose one of {', '.join(READOUTS)}.")


def checked_centre(centre: np.ndarray | None, dim: int) -> np.ndarray | None:
    """Copy a centre as float64, shape (dim,); None stays None.

    Raises:
        ValueError: It has another shape, or is not finite.
    """
    if centre is None:
        return None
    copy = np.array(centre, dtype=np.float64)
    if copy.shape != (dim,) or not np.isfinite(copy).all():
        raise ValueError(f"The centre must be {dim} finite numbers.")
    return copy


def check_texts(texts: Sequence[str]) -> None:
    """Check identifiers and labels.

    Raises:
        ValueError: One is empty or not valid Unicode.
    """
    for text in texts:
        if not text:
            raise ValueError("Identifiers and labels must not be empty.")
        text.encode()  # a lone surrogate is a ValueError
