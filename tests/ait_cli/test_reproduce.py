"""Experiments by command."""

import json
import signal
from pathlib import Path
from typing import NoReturn

import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from ait_cli.main import app
from training.errors import TrainingInterrupted
from training.experiments.budget import Budget
from training.experiments.outcome import Check, Outcome
from training.experiments.relational import joint
from training.experiments.retrieval import snr
from training.experiments.run import EXPERIMENTS

run = CliRunner().invoke


def test_an_experiment_writes_its_figures_and_a_plot(tmp_path: Path) -> None:
    result = run(app, ["reproduce", "capacity-slope", "--output", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert "agrees" in result.output
    report = json.loads((tmp_path / "capacity-slope.json").read_text())
    assert report["passed"]
    assert report["checks"]
    assert (tmp_path / "capacity-slope.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_outside_the_range_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Outcome("wrong", [Check.near("a figure", 2.0, 1.0, share=0.1)], Figure())
    monkeypatch.setattr(snr, "run", lambda full, seed: wrong)
    result = run(app, ["reproduce", "snr", "--output", str(tmp_path)])
    assert result.exit_code == 1
    assert "DIFFERS" in result.output


def test_theory_is_shown_where_more_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wider = Check("a figure", 2.0, 0.0, 3.0, 1.0, (0.9, 1.1))
    assert wider.passed
    assert not wider.within_theory
    monkeypatch.setattr(snr, "run", lambda full, seed: Outcome("wider", [wider], Figure()))
    result = run(app, ["reproduce", "snr", "--output", str(tmp_path)])
    assert result.exit_code == 0
    for text in ("0.9 to 1.1", "0 to 3", "outside theory's"):
        assert text in " ".join(result.output.split()), text
    assert json.loads((tmp_path / "snr.json").read_text())["checks"][0]["within_theory"] is False


def test_names(tmp_path: Path) -> None:
    listed = dict(line.split(maxsplit=1) for line in run(app, ["reproduce"]).output.splitlines())
    assert listed["landscape"].startswith("Energy landscapes of the three retrieval kernels")
    assert set(listed) == set(EXPERIMENTS)
    result = run(app, ["reproduce", "landscap"])
    assert result.exit_code == 1
    assert "did you mean landscape?" in result.output
    (tmp_path / "file").touch()
    result = run(app, ["reproduce", "capacity-slope", "--output", str(tmp_path / "file")])
    assert result.exit_code == 1
    assert "cannot be written" in result.output


def test_images_are_for_experiments_that_take_them(tmp_path: Path) -> None:
    result = run(app, ["reproduce", "landscape", "--data", str(tmp_path)])
    assert result.exit_code == 1
    takers = "against-vit, block-memory, from-vit, paper-ablations, paper-sweeps, paper-table, unknown, write-maps"
    assert f"--data is for: {takers}" in result.output.replace("\n", " ")
    result = run(app, ["reproduce", "unknown", "--data", str(tmp_path)])
    assert result.exit_code == 1
    assert str(tmp_path) in result.output.replace("\n", "")


def test_only_long_experiments_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(app, ["reproduce", "landscape", "--seconds", "5"])
    assert result.exit_code == 1
    takers = "against-vit, block-memory, paper-ablations, paper-sweeps, paper-table, relational, relational-published"
    assert f"--seconds is for: {takers}" in result.output.replace("\n", " ")

    def stop(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
        budget.check()
        return Outcome("done", [], Figure(), markdown="| table |")

    monkeypatch.setattr(joint, "run", stop)
    result = run(app, ["reproduce", "relational", "--seconds", "0", "--output", str(tmp_path)])
    assert result.exit_code == 3
    assert "run it again" in result.output.replace("\n", " ")
    page = tmp_path / "page.md"
    page.write_text("<!-- begin relational --><!-- end relational -->")
    result = run(app, ["reproduce", "relational", "--output", str(tmp_path), "--page", str(page)])
    assert result.exit_code == 0, result.output
    assert "| table |" in page.read_text()
    assert json.loads((tmp_path / "relational.json").read_text())["environment"]["processor"]


@pytest.mark.parametrize(("name", "then"), [("paper-sweeps", "goes on from there"), ("from-vit", "begins anew")])
def test_a_signal_ends_it_with_a_line(name: str, then: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> NoReturn:
        raise TrainingInterrupted(signal.SIGTERM, "stopped after step 7")

    monkeypatch.setattr("training.experiments.run.run_experiment", stop)
    result = run(app, ["reproduce", name, "--output", str(tmp_path)])
    assert result.exit_code == 128 + signal.SIGTERM
    assert f"{name}: stopped by SIGTERM; the same command {then}" in result.output
