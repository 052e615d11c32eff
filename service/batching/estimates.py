"""Estimate from past batches and requests how long it pays to wait for a fuller batch."""

from __future__ import annotations

import math

_MEMORY = 0.25  # seconds after which an arrival counts 1/e when the load is judged
_KEPT = 0.95  # weight of all earlier batches at the next one, when their cost is judged


class BatchCost:
    """The cost of a batch: seconds = fixed + slope * items, by least squares over recent batches."""

    def __init__(self) -> None:
        """Begin without any batch."""
        self._weight = self._n = self._t = self._nn = self._nt = 0.0

    def add(self, items: int, seconds: float) -> None:
        """Learn from a batch of some items that took some seconds."""
        self._weight = _KEPT * self._weight + 1
        self._n = _KEPT * self._n + items
        self._t = _KEPT * self._t + seconds
        self._nn = _KEPT * self._nn + items**2
        self._nt = _KEPT * self._nt + items * seconds

    @property
    def per_item(self) -> float:
        """Seconds per item, everything counted."""
        return self._t / self._n if self._n else 0.0

    @property
    def fixed(self) -> float:
        """Seconds per batch, besides its items."""
        if not self._weight:
            return 0.0
        n, t = self._n / self._weight, self._t / self._weight
        variance = self._nn / self._weight - n**2
        if variance < 0.05 * n**2:
            return t / 2  # all alike: nothing tells the two apart
        slope = (self._nt / self._weight - n * t) / variance
        return min(max(t - slope * n, 0.0), t)

    def seconds(self, items: int) -> float:
        """Estimate the seconds that a batch of some items takes; 0 before any is known."""
        if not self._n:
            return 0.0
        fixed = self.fixed
        return fixed + items * (self._t - self._weight * fixed) / self._n


class ArrivalRate:
    """The rate at which requests come while others are there."""

    def __init__(self) -> None:
        """Begin without any request."""
        self._count, self.last = 0.0, 0.0

    def add(self, now: float) -> None:
        """Learn from a request that came now."""
        self._count, self.last = self.rate(now) * _MEMORY + 1, now

    def rate(self, now: float) -> float:
        """Estimate the requests per second at a time."""
        return self._count * math.exp(min(self.last - now, 0.0) / _MEMORY) / _MEMORY
