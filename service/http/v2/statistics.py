"""Count for the statistics extension of the inference protocol, for each version of each model."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from service.observability.events import Observer


@dataclass(frozen=True)
class Times:
    """The time that each stage of a request took, in seconds.

    Attributes:
        queue: Waiting.
        compute_input: Reading and decoding what was sent.
        compute_infer: In the model.
        compute_output: Making the answer.
        total: From the request's last byte to the answer.
    """

    queue: float
    compute_input: float
    compute_infer: float
    compute_output: float
    total: float


@dataclass
class _Duration:
    count: int = 0
    ns: int = 0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.ns += round(seconds * 1e9)

    def include(self, count: int, ns: int) -> None:
        self.count += count
        self.ns += ns

    def describe(self) -> dict[str, int]:
        return {"count": self.count, "ns": self.ns}


_STAGES = ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output")
_IN_A_BATCH = ("compute_input", "compute_infer", "compute_output")


@dataclass
class _Version:
    last_inference: int = 0
    stages: dict[str, _Duration] = field(default_factory=lambda: {stage: _Duration() for stage in _STAGES})
    batches: dict[int, _Duration] = field(default_factory=dict)


class Statistics(Observer):
    """Count what a server process has done since it started.

    Requests are those of the inference protocol; batches, and the inferences in them, are all that the model ran,
    whoever asked for them.
    """

    def __init__(self) -> None:
        """Begin at zero."""
        self._versions: dict[tuple[str, str], _Version] = {}

    def batch(
        self, model: str, version: str, operation: str, size: int, waits: Sequence[float], seconds: float
    ) -> None:
        """Count a batch that has been answered."""
        if operation == "logits":
            self._of(model, version).batches.setdefault(size, _Duration()).add(seconds)

    def succeeded(self, model: str, version: str, times: Times) -> None:
        """Count a request that has been answered."""
        of = self._of(model, version)
        of.last_inference = time.time_ns() // 1_000_000
        of.stages["success"].add(times.total)
        for stage in ("queue", *_IN_A_BATCH):
            of.stages[stage].add(getattr(times, stage))

    def failed(self, model: str, version: str, seconds: float) -> None:
        """Count a request that was understood but not answered, and the seconds that it took."""
        of = self._of(model, version)
        of.last_inference = time.time_ns() // 1_000_000
        of.stages["fail"].add(seconds)

    def export(self) -> list[Any]:
        """Export the counters as plain values, which JSON can hold."""
        return [
            [
                *key,
                of.last_inference,
                {stage: [each.count, each.ns] for stage, each in of.stages.items()},
                [[size, each.count, each.ns] for size, each in of.batches.items()],
            ]
            for key, of in self._versions.items()
        ]

    def plus(self, *exports: list[Any]) -> Statistics:
        """Add up these counters and those that other processes exported."""
        sums = Statistics()
        for model, version, last_inference, stages, batches in itertools.chain(self.export(), *exports):
            of = sums._of(model, version)
            of.last_inference = max(of.last_inference, last_inference)
            for stage, (count, ns) in stages.items():
                of.stages[stage].include(count, ns)
            for size, count, ns in batches:
                of.batches.setdefault(size, _Duration()).include(count, ns)
        return sums

    def describe(self, model: str, version: str) -> dict[str, Any]:
        """Describe the counters as the statistics extension has them."""
        of = self._versions.get((model, version), _Version())
        return {
            "name": model,
            "version": version,
            "last_inference": of.last_inference,
            "inference_count": sum(size * duration.count for size, duration in of.batches.items()),
            "execution_count": sum(duration.count for duration in of.batches.values()),
            "inference_stats": {stage: duration.describe() for stage, duration in of.stages.items()},
            "batch_stats": [
                {
                    "batch_size": size,
                    # Inputs are prepared and outputs written a request, not a batch.
                    "compute_input": {"count": duration.count, "ns": 0},
                    "compute_infer": duration.describe(),
                    "compute_output": {"count": duration.count, "ns": 0},
                }
                for size, duration in sorted(of.batches.items())
            ],
            "memory_usage": [],
        }

    def _of(self, model: str, version: str) -> _Version:
        return self._versions.setdefault((model, version), _Version())
