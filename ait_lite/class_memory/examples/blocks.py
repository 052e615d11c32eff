"""Find the largest of many numbers in each row."""

import numpy as np

_BLOCK = 32


class Blocks:
    """Rows of numbers, with the maxima of blocks of columns: whatever is large lies in the blocks with large maxima.

    Args:
        scores: Shape (b, n).
    """

    def __init__(self, scores: np.ndarray) -> None:
        self._scores = scores
        batch, total = scores.shape
        self._count = count = total // _BLOCK
        # Block c holds columns c, c + count, ...: maxima over rows of this view run along memory.
        self._maxima = scores[:, : count * _BLOCK].reshape(batch, _BLOCK, count).max(axis=1)
        self._rest = np.arange(count * _BLOCK, total)  # columns of no block

    def largest(self, count: int) -> np.ndarray:
        """Find the columns of the `count` largest of each row, in no order; shape (b, count)."""
        batch, total = self._scores.shape
        if self._count <= 2 * count:
            return np.argpartition(self._scores, total - count, axis=1)[:, total - count :]
        blocks = np.argpartition(self._maxima, self._count - count, axis=1)[:, self._count - count :]
        columns = self._columns(blocks.reshape(-1)).reshape(batch, -1)
        if len(self._rest):
            columns = np.concatenate([columns, np.broadcast_to(self._rest, (batch, len(self._rest)))], axis=1)
        among = picked(self._scores, columns)
        best = np.argpartition(among, among.shape[1] - count, axis=1)[:, among.shape[1] - count :]
        return picked(columns, best)

    def at_least(self, bounds: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Find all entries that are at least their row's bound (b,).

        Args:
            bounds: Infinite for rows that are not looked at.
            most: Of the entries of a row; of a row that has more, none is named.

        Returns:
            The rows and columns of the entries, (p,) each, in the order of rows; and which rows have more, (b,).
        """
        possible = self._maxima >= bounds[:, None]
        too_many = np.count_nonzero(possible, axis=1) > most  # each of these blocks has one
        possible[too_many] = False
        which, blocks = np.nonzero(possible)
        columns = self._columns(blocks)  # (p, _BLOCK)
        inside, offset = np.nonzero(self._scores[which[:, None], columns] >= bounds[which, None])
        which, where = which[inside], columns[inside, offset]
        if len(self._rest):
            rows, rest = np.nonzero(self._scores[:, self._rest[0] :] >= bounds[:, None])
            which, where = np.concatenate([which, rows]), np.concatenate([where, self._rest[rest]])
        too_many |= np.bincount(which, minlength=len(bounds)) > most
        named = ~too_many[which]
        order = np.argsort(which[named], kind="stable")
        return which[named][order], where[named][order], too_many

    def _columns(self, blocks: np.ndarray) -> np.ndarray:
        """List the columns of blocks (p,), shape (p, _BLOCK)."""
        return blocks[:, None] + self._count * np.arange(_BLOCK)


def picked(array: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Pick columns (b, k) of each row of (b, n); NumPy's own function takes several times as long for one row."""
    return array[np.arange(len(array))[:, None], columns]
