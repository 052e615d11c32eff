"""`ait bench recall` against a real server in another process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ait_cli.main import app
from service.benchmark.recall import RecallBenchmark, RecallRound


def test_the_command_measures_a_memory_beside_classify(model_folder: Path, photos: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = ["bench", "recall", str(model_folder), "--images", str(photos), "--examples", "60", "--rounds", "1"]
    outcome = CliRunner().invoke(app, [*command, "--seconds", "2", "--connections", "4", "-o", str(report)])
    assert outcome.exit_code == 0, outcome.output
    assert "of classify" in outcome.output
    found = json.loads(report.read_text())
    assert (found["model"], found["examples"], found["connections"]) == ("colours", 60, 4)
    assert found["images"] == 3  # fewer than are asked about: the examples are of the same
    (entry,) = found["rounds"]
    assert entry["failures"] == {}
    assert found["throughput"] == pytest.approx(entry["recall_rate"] / entry["classify_rate"])
    assert found["added"] == pytest.approx(entry["recall_single"] - entry["classify_single"])


def test_a_model_that_is_not_there_is_named() -> None:
    outcome = CliRunner().invoke(app, ["bench", "recall", "nowhere"])
    assert outcome.exit_code == 1
    assert "nowhere" in outcome.output


def test_medians_are_of_the_ratios_of_each_round() -> None:
    rounds = [
        RecallRound(100.0, 90.0, 0.004, 0.005, 0.0, {}),
        RecallRound(50.0, 40.0, 0.008, 0.010, 0.0, {}),
        RecallRound(200.0, 170.0, 0.002, 0.0025, 0.0, {}),
    ]
    result = RecallBenchmark("tiny", 10, 10, 4, 2, 8, rounds)
    assert result.throughput == pytest.approx(0.85)
    assert result.added == pytest.approx(0.001)
    assert result.medians("classify") == (100.0, 0.004)
    assert result.medians("recall") == (90.0, 0.005)
