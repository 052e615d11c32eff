"""Run an experiment by name."""

import ast
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg

from ait_lite.checkpoint import atomic_file, write_text
from training.experiments.budget import Budget
from training.experiments.environment import experiment_environment, recorded_environments
from training.experiments.outcome import Outcome
from training.experiments.page import replace_linked, replace_section

# Name -> module of this package, whose `run(full, seed)` returns an outcome.
EXPERIMENTS = {
    "against-vit": "against_vit.comparison",
    "association-capacity": "facts.association_capacity",
    "block-memory": "blocks.comparison",
    "capacity-slope": "energies.capacity_slope",
    "cross-entropy": "energies.cross_entropy",
    "data-fraction": "energies.data_fraction",
    "embeddings": "scaling.embeddings",
    "fact-storage": "facts.fact_storage",
    "factual-recall": "facts.factual_recall",
    "from-vit": "fine_tuning.from_vit",
    "head-comparison": "heads.comparison",
    "infinite-context": "retrieval.infinite_context",
    "landscape": "energies.landscape",
    "majoriser": "energies.majoriser",
    "nearest-neighbour": "energies.nearest_neighbour",
    "optimisers": "scaling.optimisers",
    "paper-ablations": "tables.ablations",
    "paper-costs": "tables.costs",
    "paper-sweeps": "tables.sweeps",
    "paper-table": "tables.comparison",
    "reachability": "retrieval.reachability",
    "recall": "retrieval.recall",
    "relational": "relational.joint",
    "relational-published": "relational.published",
    "sequential-learning": "facts.sequential_learning",
    "snr": "retrieval.snr",
    "storage-samples": "scaling.storage_samples",
    "storage-strength": "scaling.storage_strength",
    "storage-width": "scaling.storage_width",
    "swaps": "retrieval.swaps",
    "trained-recall": "retrieval.trained_recall",
    "unknown": "familiarity.unknown",
    "updates": "retrieval.updates",
    "write-maps": "blocks.write_maps",
}
_DPI = 160


# Experiments that take images of one's own, as `run(full, seed, data)`.
WITH_DATA = frozenset(
    {
        "against-vit",
        "block-memory",
        "from-vit",
        "paper-ablations",
        "paper-sweeps",
        "paper-table",
        "unknown",
        "write-maps",
    }
)

# Experiments that train for long, and go on where an earlier command stopped: `run(full, seed, data, folder, budget)`.
RESUMED = frozenset(
    {
        "against-vit",
        "block-memory",
        "paper-ablations",
        "paper-sweeps",
        "paper-table",
        "relational",
        "relational-published",
    }
)


def run_experiment(
    name: str,
    output: Path,
    full: bool = False,
    seed: int = 0,
    data: Path | None = None,
    seconds: float | None = None,
    page: Path | None = None,
    only: str | None = None,
) -> Outcome:
    """Run one experiment; write ``NAME.json`` and ``NAME.png``, and ``NAME.md`` where it has tables.

    The JSON holds the figures, and where and by which command they were made; for ``RESUMED``, each trial's too.

    Args:
        name: One of ``EXPERIMENTS``.
        output: Folder for the files, made if missing.
        full: Run at the paper's size, or with more trials, which takes longer.
        seed: Seed of everything random.
        data: Folder of images, for ``WITH_DATA``; None: what the experiment draws.
        seconds: For ``RESUMED``: stop after so long; the same call goes on. None: run to the end.
        page: Markdown page whose section of this name becomes the experiment's tables, and whose links to
            ``NAME.json`` and ``NAME.png`` then lead to these; None: no page.
        only: For ``RESUMED``: run the trials of this pattern, see `Budget`; None: all.

    Returns:
        The outcome; a command that runs experiments fails where it has not passed.

    Raises:
        ValueError: If there is no such experiment, or it takes no images, or cannot be stopped.
        OutOfTime: The seconds are used up; what was trained is in ``output/NAME-trials``.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"Unknown experiment {name!r}; choose one of {', '.join(EXPERIMENTS)}.")
    if data is not None and name not in WITH_DATA:
        raise ValueError(f"{name} takes no images; {', '.join(sorted(WITH_DATA))} do.")
    if (seconds is not None or only is not None) and name not in RESUMED:
        raise ValueError(f"{name} runs to its end; {', '.join(sorted(RESUMED))} can be stopped.")
    run: Callable[..., Outcome] = import_module(f"training.experiments.{EXPERIMENTS[name]}").run
    trials = output / f"{name}-trials"
    if name in RESUMED:
        outcome = run(full, seed, data, trials, Budget(seconds, only or "*"))
    else:
        outcome = run(full, seed) if data is None else run(full, seed, data)
    output.mkdir(parents=True, exist_ok=True)
    report = {
        "experiment": name,
        "title": outcome.title,
        "full": full,
        "seed": seed,
        "passed": outcome.passed,
        "checks": [
            asdict(check) | {"passed": check.passed, "within_theory": check.within_theory} for check in outcome.checks
        ],
        "figures": outcome.figures,
        "environment": experiment_environment(),
    }
    if name in RESUMED:
        report["trials"] = recorded_environments(trials)
    write_text(output / f"{name}.json", json.dumps(_finite(report), indent=2, allow_nan=False) + "\n")
    outcome.figure.suptitle(outcome.title, fontsize=10)
    with atomic_file(output / f"{name}.png") as temporary:
        FigureCanvasAgg(outcome.figure).print_figure(temporary, format="png", dpi=_DPI)
    if outcome.markdown:
        write_text(output / f"{name}.md", outcome.markdown)
        if page is not None:
            replace_section(page, name, outcome.markdown)
    if page is not None:
        replace_linked(page, [output / f"{name}.json", output / f"{name}.png"])
    return outcome


def describe(name: str) -> str:
    """Say in a line what an experiment is about; its libraries are not loaded for that."""
    module = Path(__file__).parent.joinpath(*EXPERIMENTS[name].split(".")).with_suffix(".py")
    text = ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or ""
    return text.partition("\n\n")[0].replace("\n", " ")


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold, infinities and NaN, by None."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
