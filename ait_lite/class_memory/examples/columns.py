"""Arrays of a column a key, which grow."""

import numpy as np

# Rows that all begin at the same place of a page share few lines of a cache: products with them take up to twice as
# long. A few columns more, which are never used, keep them apart.
_PAGE, _APART = 1024, 16


def columns(height: int, width: int) -> np.ndarray:
    """Make zeros of float32, shape (height, width)."""
    apart = 0 if width % _PAGE else _APART
    return np.zeros((height, width + apart), np.float32)[:, :width]


def widened(array: np.ndarray, width: int) -> np.ndarray:
    """Copy columns (height, n) into more of them, (height, width); the others are zero."""
    wider = columns(len(array), width)
    wider[:, : array.shape[1]] = array
    return wider
