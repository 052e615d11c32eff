"""Experiments run by name, write their files, and agree with theory."""

import json
from importlib import import_module
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from training.experiments import EXPERIMENTS, Check, Outcome, run_experiment
from training.experiments.energies import landscape as example

# The others train for up to a minute or more; their parts have tests of their own.
SLOW = {
    "against-vit",
    "association-capacity",
    "block-memory",
    "data-fraction",
    "fact-storage",
    "factual-recall",
    "from-vit",
    "head-comparison",
    "optimisers",
    "paper-ablations",
    "paper-costs",
    "paper-sweeps",
    "paper-table",
    "relational",
    "relational-published",
    "sequential-learning",
    "storage-width",
    "swaps",
    "trained-recall",
    "unknown",
    "write-maps",
}
QUICK = sorted(set(EXPERIMENTS) - SLOW)


@pytest.mark.parametrize("name", QUICK)
def test_experiments_agree_with_theory(name: str, tmp_path: Path) -> None:
    outcome = run_experiment(name, tmp_path)
    assert outcome.passed, [check for check in outcome.checks if not check.passed]
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert report["passed"] is True
    assert [check["name"] for check in report["checks"]] == [check.name for check in outcome.checks]
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_figures(tmp_path: Path) -> None:
    first, second, other = (run_experiment("updates", tmp_path / str(seed), seed=seed) for seed in (3, 3, 4))
    assert first.checks == second.checks
    assert first.figures == second.figures
    assert first.figures != other.figures


def test_what_failed_is_written_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = Outcome("title", [Check("bad", float("nan"), 0, float("inf"))], Figure(), {"list": [1.0, float("inf")]})
    monkeypatch.setattr(example, "run", lambda full, seed: failed)
    assert not run_experiment("landscape", tmp_path / "new" / "folder").passed
    report = json.loads((tmp_path / "new" / "folder" / "landscape.json").read_text())
    assert report["passed"] is False
    assert report["checks"][0]["measured"] is None
    assert report["figures"] == {"list": [1.0, None]}


def test_unknown_experiments_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="landscape"):
        run_experiment("nothing", tmp_path)


def test_images_are_for_experiments_that_take_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown"):
        run_experiment("landscape", tmp_path, data=tmp_path)


def test_every_name_is_a_module() -> None:
    for module in EXPERIMENTS.values():
        assert callable(import_module(f"training.experiments.{module}").run)
