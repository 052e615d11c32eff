"""Run an experiment by name."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg

from ait_lite.checkpoint import atomic_file, write_text
from training.experiments.outcome import Outcome

# Name -> module of this package, whose `run(full, seed)` returns an outcome.
EXPERIMENTS = {
    "capacity-slope": "capacity_slope",
    "cross-entropy": "cross_entropy",
    "data-fraction": "data_fraction",
    "head-comparison": "head_comparison",
    "infinite-context": "infinite_context",
    "landscape": "landscape",
    "majoriser": "majoriser",
    "nearest-neighbour": "nearest_neighbour",
    "reachability": "reachability",
    "recall": "recall",
    "snr": "snr",
    "swaps": "swaps",
    "updates": "updates",
}
_DPI = 160


def run_experiment(name: str, output: Path, full: bool = False, seed: int = 0) -> Outcome:
    """Run one experiment; write ``NAME.json`` and ``NAME.png``.

    Args:
        name: One of ``EXPERIMENTS``.
        output: Folder for the files, made if missing.
        full: Run at the paper's size, or with more trials, which takes longer.
        seed: Seed of everything random.

    Returns:
        The outcome; a command that runs experiments fails where it has not passed.

    Raises:
        ValueError: If there is no such experiment.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"Unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}.")
    run: Callable[[bool, int], Outcome] = import_module(f"training.experiments.{EXPERIMENTS[name]}").run
    outcome = run(full, seed)
    output.mkdir(parents=True, exist_ok=True)
    report = {
        "experiment": name,
        "title": outcome.title,
        "full": full,
        "seed": seed,
        "passed": outcome.passed,
        "checks": [asdict(check) | {"passed": check.passed} for check in outcome.checks],
        "figures": outcome.figures,
    }
    write_text(output / f"{name}.json", json.dumps(_finite(report), indent=2, allow_nan=False) + "\n")
    outcome.figure.suptitle(outcome.title, fontsize=10)
    with atomic_file(output / f"{name}.png") as temporary:
        FigureCanvasAgg(outcome.figure).print_figure(temporary, format="png", dpi=_DPI)
    return outcome


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold, infinities and NaN, by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
