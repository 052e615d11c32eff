"""Steps are timed in turns, and the least time counts."""

import pytest
import torch
from torch import Tensor, nn

from training.experiments import step_times as module
from training.experiments.step_times import step_times


class Counting(nn.Linear):
    """Costs a number of seconds of the given clock more at its first step than at the others."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        super().__init__(4, 3)
        self.clock, self.seconds, self.steps = clock, seconds, 0

    def forward(self, images: Tensor) -> Tensor:
        self.clock[0] += self.seconds if self.steps else 10 * self.seconds
        self.steps += 1
        return super().forward(images)


def test_the_least_of_several_steps_in_turns_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: clock[0])
    models = {"slow": Counting(clock, 2.0), "fast": Counting(clock, 1.0)}
    images, labels = torch.randn(6, 4), torch.arange(6) % 3
    found = step_times(models, lambda model: nn.functional.cross_entropy(model(images), labels))
    assert found == pytest.approx({"slow": 2.0, "fast": 1.0})
    assert models["slow"].steps == models["fast"].steps > 2
    assert all(parameter.grad is None for model in models.values() for parameter in model.parameters())
