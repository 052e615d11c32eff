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
    "association-capacity": "facts.association_capacity",
    "block-memory": "blocks.comparison",
    "capacity-slope": "energies.capacity_slope",
    "cross-entropy": "energies.cross_entropy",
    "data-fraction": "energies.data_fraction",
    "embeddings": "scaling.embeddings",
    "fact-storage": "facts.fact_storage",
    "factual-recall": "facts.factual_recall",
    "head-comparison": "heads.comparison",
    "infinite-context": "retrieval.infinite_context",
    "landscape": "energies.landscape",
    "majoriser": "energies.majoriser",
    "nearest-neighbour": "energies.nearest_neighbour",
    "optimisers": "scaling.optimisers",
    "reachability": "retrieval.reachability",
    "recall": "retrieval.recall",
    "sequential-learning": "facts.sequential_learning",
    "snr": "retrieval.snr",
    "storage-samples": "scaling.storage_samples",
    "storage-strength": "scaling.storage_strength",
    "storage-width": "scaling.storage_width",
    "swaps": "retrieval.swaps",
    "trained-recall": "retrieval.trained_recall",
    "unknown": "familiarity.unknown",
    "updates": "retrieval.updates",
}
_DPI = 160


# Experiments that take images of one's own, as `run(full, seed, data)`.
WITH_DATA = frozenset({"block-memory", "unknown"})


def run_experiment(name: str, output: Path, full: bool = False, seed: int = 0, data: Path | None = None) -> Outcome:
    """Run one experiment; write ``NAME.json``, ``NAME.png`` and, where there is a table, ``NAME.md``.

    Args:
        name: One of ``EXPERIMENTS``.
        output: Folder for the files, made if missing.
        full: Run at the paper's size, or with more trials, which takes longer.
        seed: Seed of everything random.
        data: Folder of images, for ``WITH_DATA``; None: what the experiment draws.

    Returns:
        The outcome; a command that runs experiments fails where it has not passed.

    Raises:
        ValueError: If there is no such experiment, or it takes no images.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"Unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}.")
    if data is not None and name not in WITH_DATA:
        raise ValueError(f"{name} takes no images; {', '.join(sorted(WITH_DATA))} do.")
    run: Callable[..., Outcome] = import_module(f"training.experiments.{EXPERIMENTS[name]}").run
    outcome = run(full, seed) if data is None else run(full, seed, data)
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
    if outcome.table is not None:
        write_text(output / f"{name}.md", outcome.table)
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
