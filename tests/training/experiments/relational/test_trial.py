"""Trials go on where they were stopped, with the same result."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.processes.budgets import Questions
from training.experiments.budget import Budget, OutOfTime
from training.experiments.relational.trial import RelationalTrial, for_this_machine, run_trial

SMALL: dict[str, Any] = {"kind": "ait", "dim": 16, "depth": 1, "num_heads": 2}
DROPOUT = {"memory": "published", "memory_args": {"write_dropout": 0.5}}
TRIAL = RelationalTrial("AiT", SMALL, images=24, epochs=2, batch_size=8)


def without_seconds(result: dict[str, Any]) -> dict[str, Any]:
    return result | {"history": [row | {"seconds": 0.0} for row in result["history"]]}


@pytest.mark.parametrize("model", [SMALL, SMALL | DROPOUT], ids=["plain", "dropout"])
def test_a_stopped_trial_ends_as_one_that_was_not(model: dict[str, Any], tmp_path: Path) -> None:
    trial = replace(TRIAL, model=model)
    whole = run_trial(trial, tmp_path / "whole", Budget())
    with pytest.raises(OutOfTime):
        run_trial(trial, tmp_path / "parts", Budget(0))
    assert not (tmp_path / "parts").exists()
    with pytest.raises(OutOfTime):
        run_trial(trial, tmp_path / "parts", Questions(1))
    assert (tmp_path / "parts" / "ait-joint-seed-0.pt").is_file()
    result = run_trial(trial, tmp_path / "parts", Questions(1))
    assert without_seconds(result) == without_seconds(whole)
    assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [
        "ait-joint-seed-0.environment.json",
        "ait-joint-seed-0.json",
    ]
    assert run_trial(trial, tmp_path / "parts", Budget(0)) == result


@pytest.mark.parametrize("multiplied", [True, False])
def test_bf16_is_for_machines_that_multiply_it(multiplied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: multiplied)
    asked = RelationalTrial("asked", precision="bf16")
    assert for_this_machine(asked).precision == ("bf16" if multiplied else "fp32")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert for_this_machine(asked) == asked
