"""AiT over the settings of its memory, one changed at a time, with what each costs.

``full`` is AiT-Small as published, with the paper's recipe and three seeds; the reduced run takes AiT-Tiny in patches
of 8 pixels for one epoch. Both are of CIFAR-10.
"""

from pathlib import Path
from statistics import fmean
from typing import Any, Final

from ait.memory.explicit import WRITE_RULES
from ait.memory.hopfield import KERNELS
from ait.workspace import memory_config
from training.experiments import style
from training.experiments.budget import Budget
from training.experiments.outcome import Outcome
from training.experiments.tables.comparison import COARSE, PAPER, QUICK
from training.experiments.tables.datasets import TABLE_DATA
from training.experiments.tables.markdown import SPREAD, accuracy, cost, table
from training.experiments.tables.step_seconds import over_first, step_seconds
from training.experiments.tables.trial import TableTrial, run_trial, run_trials

# Setting -> values; the model's own is left out, since all rows but one have it.
SWEEPS: Final[dict[str, tuple[Any, ...]]] = {
    "num_priors": (8, 16, 64, 128),
    "prior_dim": (8, 16, 64, 128),
    "beta": (0.25, 1.0, 4.0, 16.0, 64.0),
    "write_rate": (0.01, 0.03, 0.3, 1.0),
    "write_rule": tuple(rule for rule in WRITE_RULES if rule != "ewma"),
    "retrieval": tuple(kernel for kernel in KERNELS if kernel != "dot"),
    "steps": (2, 4),
}
AS_IT_IS: Final = "as it is"
_DATASET: Final = "CIFAR-10"


def trials(full: bool, seed: int) -> list[TableTrial]:
    """List what is trained: the model as it is, then one changed setting after another."""
    model, same = ("ait_small_patch4_32", PAPER) if full else ("ait_tiny_patch4_32", COARSE)
    own = memory_config(same.get("memory", "orthogonal")).to_dict()
    rows: list[tuple[str, dict[str, Any]]] = [(AS_IT_IS, {})]
    rows += [
        (f"{name} {value}", {name: value}) for name, values in SWEEPS.items() for value in values if value != own[name]
    ]
    found = []
    for one in range(seed, seed + (3 if full else 1)):
        for label, changed in rows:
            memory = same.get("memory_args", {}) | changed
            args = same | ({"memory_args": memory} if memory else {})
            found.append(TableTrial(label, _DATASET, model, args, {} if full else QUICK, one))
    return found


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train what is not trained yet, and compare.

    Args:
        full: AiT-Small, three seeds and the paper's recipe; else the reduced run.
        seed: The first.
        data: Folder with ``cifar10``; or None.
        folder: Where trials are kept.
        budget: Asked after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
        DataError: Data are missing, or cannot be used.
    """
    trained, _ = run_trials(trials(full, seed), lambda trial: run_trial(trial, data, folder, budget))
    found = {label: results for (label, _), results in trained.items()}
    seconds = step_seconds([trial for trial in trials(full, seed) if trial.label in found and trial.seed == seed])
    times = over_first(seconds, AS_IT_IS)
    rows = [[label, *cost(results[0]), times[label], accuracy(results)] for label, results in found.items()]
    figure, panels = style.new_figure(columns=3, rows=-(-len(SWEEPS) // 3))
    every = [value for results in found.values() for value in _right(results)]
    every += _on_other_images(found[AS_IT_IS])
    limits = min(every) - 0.2, max(every) + 0.2
    for axes in panels[len(SWEEPS) :]:
        axes.remove()
    for axes, (name, values) in zip(panels, SWEEPS.items(), strict=False):
        labels = {AS_IT_IS: AS_IT_IS, **{str(value): f"{name} {value}" for value in values}}
        shown = {short: _right(found[label]) for short, label in labels.items() if label in found}
        style.seeds(axes, shown, reference=AS_IT_IS)
        axes.axvspan(*_on_other_images(found[AS_IT_IS]), color="#eeeeee", zorder=0)
        # All panels alike: what differs by a hair must not look like a difference.
        axes.set(title=name, xlabel="right answers, %", xlim=limits)
    size = (
        "AiT-Small as published, with the paper's recipe"
        if full
        else "reduced: AiT-Tiny in patches of 8, one epoch, one seed"
    )
    text = (
        f"{_DATASET}, {size} (per cent of the test images right{SPREAD if full else ''}; parameters and multiply-adds "
        "in millions; time of a training step over that of the model as it is, measured in turns):\n\n"
        + table(["memory", "parameters", "multiply-adds", "time", _DATASET], rows)
        + "\n"
    )
    checks = [TABLE_DATA[_DATASET].learnt(label, results[0]["accuracy"]) for label, results in found.items()]
    return Outcome(
        "AiT over the settings of its memory", checks, figure, {"results": found, "step_seconds": seconds}, text
    )


def _right(results: list[dict[str, Any]]) -> list[float]:
    return [100 * float(result["accuracy"]) for result in results]


def _on_other_images(results: list[dict[str, Any]]) -> tuple[float, float]:
    """Give between what per cent a model would be right on as many other test images, 95 times in 100."""
    right = fmean(_right(results)) / 100
    half = 1.96 * (right * (1 - right) / TABLE_DATA[_DATASET].test_images) ** 0.5
    return 100 * (right - half), 100 * (right + half)
