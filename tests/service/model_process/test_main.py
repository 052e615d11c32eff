"""What a model's process does before it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from service.model_process.classifier import Classifier
from service.model_process.main import _judge, _load, _warm_up
from service.model_process.mixed_batch import MixedBatch
from service.repository.folders import ModelError, locate


def spec(path: Path, **options: Any) -> dict[str, Any]:
    folder = locate(path)
    return {
        "name": folder.name,
        "version": folder.version,
        "path": str(path),
        "config": folder.config,
        "device": "cpu",
        "max_batch": 8,
        "runtime": "torch",
        "precision": "fp32",
        "runtime_file": "",
        "cache": None,
        "torch": True,
        "only_explains": False,
    } | options


@pytest.fixture(autouse=True)
def same_threads() -> Any:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_model_is_warm_and_its_batches_are_within_bounds(model_folder: Path) -> None:
    classifier, batches = _load(spec(model_folder, max_batch=6), threads=2)
    assert (classifier.streams, torch.get_num_threads()) == (2, 1)
    assert batches.best in (1, 2, 4, 6)
    assert classifier.max_batch == 6


@pytest.mark.parametrize(
    ("seconds", "best", "besides"),
    [
        ({1: 6.0, 2: 7.0, 4: 9.0, 8: 13.0, 16: 21.0}, 16, 5.0),  # 5 and 1 an input: every doubling gains much
        ({1: 2.0, 2: 3.0, 4: 5.0, 8: 9.0, 16: 17.0}, 8, 1.0),  # 9 / 8 is within a tenth of 17 / 16
        ({1: 2.0, 2: 4.0, 4: 8.0}, 1, 0.0),
        ({1: 2.0, 2: 5.0, 4: 12.0}, 1, 0.0),  # larger ones are slower
        ({1: 3.0}, 1, 0.0),
    ],
)
def test_batches_are_large_enough_where_larger_ones_gain_little(
    seconds: dict[int, float], best: int, besides: float
) -> None:
    found = _judge(seconds)
    assert found.best == best
    assert found.seconds == pytest.approx(besides)


class SharedProcessor:
    """A processor, and its clock, that other programs have every second turn of; a classifier works on it.

    Args:
        turn: In microseconds.
    """

    input_size = (3, 8, 8)
    max_batch = 32

    def __init__(self, turn: int) -> None:
        self.now, self._turn = 0, turn

    def clock(self) -> float:
        return self.now / 1e6

    def logits(self, batch: MixedBatch, threads: int) -> None:
        assert batch.images is not None
        left = 500 + 3000 * len(batch.images)
        while left:
            into = self.now % (2 * self._turn)
            part = min(self._turn - into, left) if into < self._turn else 0
            self.now += part or 2 * self._turn - into
            left -= part


@pytest.mark.parametrize("turn", [10**9, 5000, 4000, 3000])  # the first is never over: an idle machine
def test_batches_are_large_enough_on_a_machine_that_is_shared_too(turn: int) -> None:
    # A batch of one may fit between two turns of others; of the larger ones none does.
    machine: Any = SharedProcessor(turn)
    assert _warm_up(machine, 1, machine.clock).best in ((8,) if turn == 10**9 else (4, 8, 16))


class HeldUp:
    """A classifier that waits for its processor, for longer in larger batches, and both of its clocks.

    Args:
        device: That it runs on.
    """

    input_size = (3, 8, 8)
    max_batch = 8

    def __init__(self, device: str) -> None:
        self.device = device
        self._worked = self._waited = 0.0

    def process_time(self) -> float:
        return self._worked

    def perf_counter(self) -> float:
        return self._worked + self._waited

    def logits(self, batch: MixedBatch, threads: int) -> None:
        assert batch.images is not None
        count = len(batch.images)
        self._waited += 0.003 * count if count > 1 else 0.0
        self._worked += 0.0005 + 0.00005 * count


@pytest.mark.parametrize(("device", "threads", "best"), [("cpu", 1, 8), ("cpu", 2, 1), ("cuda", 1, 1)])
def test_a_thread_is_timed_by_its_share_of_a_processor(
    monkeypatch: pytest.MonkeyPatch, device: str, threads: int, best: int
) -> None:
    held_up: Any = HeldUp(device)
    monkeypatch.setattr("service.model_process.main.time", held_up)
    assert _warm_up(held_up, threads).best == best


def test_a_model_that_fails_on_larger_batches_is_named(model_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logits = Classifier.logits

    def limited(self: Classifier, batch: MixedBatch, threads: int) -> np.ndarray:
        if batch.images is not None and len(batch.images) > 2:
            raise RuntimeError("not enough memory")
        return logits(self, batch, threads)

    monkeypatch.setattr(Classifier, "logits", limited)
    with pytest.raises(ModelError, match=r"cannot be loaded: not enough memory\. The cause is in the log"):
        _load(spec(model_folder), threads=1)
