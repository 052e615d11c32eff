"""AiT against ViT, settled: three seeds, paired intervals, and the cost at which a ViT is as good.

On CIFAR-10, Triangle as published and Sort-of-CLEVR, all models of a set learn from the same images in the same order
by the same recipe, with the same number of heads. AiT earns its keep where it beats the ViT of as many parameters by
more than the interval *and* loses when its memory is taken away.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn

from training.experiments import style
from training.experiments.against_vit.entries import LABELS, Entry, entries
from training.experiments.blocks.comparison import difference, measured
from training.experiments.blocks.memories import INTERVENTIONS
from training.experiments.blocks.training import fast_products
from training.experiments.blocks.trial import Trial
from training.experiments.budget import Budget, run_chosen
from training.experiments.outcome import Check, Outcome
from training.experiments.step_times import step_times

Trials = Mapping[str, Sequence[Trial]]
# Answers among which a model that has learnt nothing chooses.
_CHOICES: Final = {"CIFAR-10": 10, "Triangle": 2}


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train every model that is not trained yet, and compare.

    Args:
        full: Sizes that want a GPU; else two cores take about two hours.
        seed: The first of three.
        data: CIFAR-10 as splits of class folders; None leaves it out.
        folder: Where trials are kept.
        budget: Asked before every trial, and after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
        DataError: The images cannot be used.
    """
    tables: dict[str, dict[str, list[Trial]]] = {}
    chosen = run_chosen(entries(full, seed, data, folder, budget), lambda entry: entry.run())
    times = _step_times([entry for entry, _ in chosen])
    steps: dict[str, dict[str, float]] = {}
    for entry, trials in chosen:
        for table, trial in trials.items():
            tables.setdefault(table, {}).setdefault(entry.contestant, []).append(trial)
            steps.setdefault(table, {})[entry.contestant] = times[entry.loss][entry.contestant]
    return outcome(tables, steps)


def _step_times(chosen: Sequence[Entry]) -> dict[Callable[[nn.Module], Tensor], dict[str, float]]:
    """Time a training step of the models of each set in turns, by the set's loss and contestant."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    sets: dict[Callable[[nn.Module], Tensor], dict[str, nn.Module]] = {}
    for entry in chosen:
        models = sets.setdefault(entry.loss, {})
        if entry.contestant not in models:
            models[entry.contestant] = entry.make().to(device)
    with fast_products():
        return {loss: step_times(models, loss) for loss, models in sets.items()}


def outcome(tables: Mapping[str, Trials], steps: Mapping[str, Mapping[str, float]]) -> Outcome:
    """Compare the trials of each table, by contestant: ViTs are told by their name.

    Args:
        tables: Trials.
        steps: Seconds of a training step of each.
    """
    figures = {
        table: {name: found | {"step": steps[table][name]} for name, found in _compared(trials).items()}
        for table, trials in tables.items()
    }
    checks = [
        Check.learnt(f"{table}, {name}", found["accuracy"], _CHOICES[table], len(tables[table][name][0].right["on"]))
        for table, contestants in figures.items()
        if table in _CHOICES
        for name, found in contestants.items()
    ]
    checks += [
        Check(f"{table}, {name}: parameters of the ViT beside it, share", found["beside"]["parameters"], 0.94, 1.06)
        for table, contestants in figures.items()
        for name, found in contestants.items()
        if "beside" in found
    ]
    figure, panels = style.new_figure(columns=len(tables))
    for axes, (table, contestants) in zip(panels, figures.items(), strict=True):
        _draw(axes, table, contestants)
    return Outcome("AiT against ViT", checks, figure, figures, markdown=_markdown(figures))


def _is_vit(name: str) -> bool:
    return name not in LABELS.values()


def _compared(trials: Trials) -> dict[str, dict[str, Any]]:
    """Describe each contestant, and compare those with a memory with the ViTs."""
    vits = {name: several for name, several in trials.items() if _is_vit(name)}
    found = {}
    for name, several in trials.items():
        found[name] = measured(several, {} if _is_vit(name) else vits)
        if _is_vit(name) or not vits:
            continue
        own = several[0].parameters
        nearest = min(vits, key=lambda vit: abs(vits[vit][0].parameters - own))
        share = vits[nearest][0].parameters / own
        found[name]["beside"] = {"name": nearest, "parameters": share}
        found[name]["as good"] = _as_good(several, vits)
    return found


def _as_good(several: Sequence[Trial], vits: Trials) -> str | None:
    """Find the smallest ViT that is not worse by more than the interval over images; None if all are."""
    for name, theirs in sorted(vits.items(), key=lambda item: item[1][0].parameters):
        right = {trial.seed: trial.right["on"] for trial in theirs}
        shared = [trial for trial in several if trial.seed in right]
        if shared:
            found = difference([trial.right["on"] for trial in shared], [right[trial.seed] for trial in shared])
            if found.mean <= found.over_images:
                return name
    return None


def _draw(axes: Axes, table: str, contestants: Mapping[str, Mapping[str, Any]]) -> None:
    """Draw accuracy beside parameters: the ViTs as a line, each model with a memory as a point of its own."""
    looks = style.series()
    vits = sorted(
        (found["parameters"] / 1e6, 100 * found["accuracy"]) for name, found in contestants.items() if _is_vit(name)
    )
    if vits:
        axes.plot(*zip(*vits, strict=True), label="ViT", **next(looks))
    for label in LABELS.values():
        look = next(looks) | {"linestyle": ""}
        if label in contestants:
            found = contestants[label]
            seeds = [100 * accuracy for accuracy in found["accuracy of each seed"]]
            axes.plot([found["parameters"] / 1e6] * len(seeds), seeds, label=label, **look)
    axes.set(title=table, xlabel="parameters, millions", ylabel="right answers, %")
    axes.legend(fontsize=8)


def _markdown(figures: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Write a table for each set; accuracies in percent, differences in points."""
    lines = []
    for table, contestants in figures.items():
        lines += [
            f"{table} (per cent right; differences in points, ± over the test images and, in brackets, over seeds):",
            "",
            "| model | parameters, M | multiply-adds, M | a step, ms | right | less the ViT of as many parameters "
            "| retrieval off | equal priors | shuffled priors | smallest ViT as good |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for name, found in contestants.items():
            beside = found["beside"]["name"] if "beside" in found else ""
            cells = [
                name,
                f"{found['parameters'] / 1e6:.2f}",
                f"{found['multiply-adds'] / 1e6:.1f}",
                f"{1e3 * found['step']:.1f}",
                f"{100 * found['accuracy']:.1f}",
                f"{beside}: {_points(found[f'over {beside}'])}" if f"over {beside}" in found else "",
                *(_points(found[change]) if change in found else "" for change in INTERVENTIONS),
                _smallest(found["as good"], found, contestants) if "as good" in found else "",
            ]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _smallest(name: str | None, found: Mapping[str, Any], contestants: Mapping[str, Mapping[str, Any]]) -> str:
    """Name a ViT, with its parameters, multiply-adds and time of a step as shares of a model's."""
    if name is None:
        return "none"
    shares = (contestants[name][cost] / found[cost] for cost in ("parameters", "multiply-adds", "step"))
    return f"{name}: " + ", ".join(f"{share:.2f}" for share in shares)


def _points(found: Mapping[str, float | None]) -> str:
    written = f"{100 * (found['mean'] or 0.0):+.1f} ± {100 * (found['over_images'] or 0.0):.1f}"
    over_seeds = found["over_seeds"]
    return written if over_seeds is None else f"{written} ({100 * over_seeds:.1f})"
