"""AiT without one of its parts, on the paper's data sets.

``full`` is the paper's: AiT-Small on CIFAR-10, CIFAR-100 and Triangle with three seeds. The reduced run takes AiT-Tiny
on CIFAR-10 in patches of 8 pixels for one epoch, three seeds too: differences are small.
"""

from pathlib import Path
from typing import Any

from ait.baselines.ablations import ABLATIONS
from ait_lite.wording import counted
from training.experiments import style
from training.experiments.budget import Budget
from training.experiments.outcome import Outcome
from training.experiments.tables import published
from training.experiments.tables.comparison import COARSE, QUICK
from training.experiments.tables.datasets import TABLE_DATA
from training.experiments.tables.markdown import SPREAD, accuracy, cost, table, theirs
from training.experiments.tables.step_seconds import over_first, step_seconds
from training.experiments.tables.trial import TableTrial, run_trial, run_trials

LABELS = {
    "none": "full model",
    "bottleneck": "no bottleneck",
    "self_attention": "no self-attention",
    "memory": "no memory",
    "hopfield": "multi-head attention in place of Hopfield",
    "balance_loss": "no balance loss",
    "reset": "memory reset each epoch",
}


def trials(full: bool, seed: int) -> list[TableTrial]:
    """List what is trained, data set after data set."""
    model = "ablated_ait_small_patch4_32" if full else "ablated_ait_tiny_patch4_32"
    found = []
    for dataset in ("CIFAR-10", "CIFAR-100", "Triangle") if full else ("CIFAR-10",):
        of_set = TABLE_DATA[dataset]
        batch = of_set.batch_size if full else QUICK["batch_size"]
        # In one epoch nothing would be reset: the reduced run does it after each quarter of it but the last.
        updates = -(-of_set.training_images // (batch * (1 if full else 4)))
        for one in range(seed, seed + 3):
            for ablation in ABLATIONS:
                args: dict[str, Any] = {"ablation": ablation}
                if ablation == "reset":
                    args["reset_every"] = updates
                args |= {"memory_args": {"write_dropout": 0.1}} if full else COARSE
                found.append(TableTrial(LABELS[ablation], dataset, model, args, {} if full else QUICK, one))
    return found


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train what is not trained yet, and compare.

    Args:
        full: As in the paper; else the reduced run.
        seed: The first.
        data: Folder with ``cifar10`` and ``cifar100``, as far as they are there; or None.
        folder: Where trials are kept.
        budget: Asked after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
        DataError: Data cannot be used, or none are there.
    """
    found, missing = run_trials(trials(full, seed), lambda trial: run_trial(trial, data, folder, budget))
    sets = [name for name in TABLE_DATA if any(dataset == name for _, dataset in found)]
    timed = [trial for trial in trials(full, seed) if (trial.label, trial.dataset) in found]
    seconds = step_seconds([trial for trial in timed if (trial.dataset, trial.seed) == (sets[0], seed)])
    times = over_first(seconds, LABELS["none"])
    rows, checks = [], []
    shown: dict[str, list[float]] = {}
    for ablation, label in LABELS.items():
        results = [found.get((label, dataset), []) for dataset in sets]
        first = next((each[0] for each in results if each), None)
        if first is None:
            continue
        rows.append(
            [
                label,
                *cost(first),
                times.get(label, "–"),
                *map(accuracy, results),
                theirs(published.ABLATIONS[ablation]),
            ]
        )
        shown[label] = [100 * result["accuracy"] for result in next(each for each in results if each)]
        checks += [
            TABLE_DATA[dataset].learnt(f"{label}, {dataset}", each[0]["accuracy"])
            for dataset, each in zip(sets, results, strict=True)
            if each
        ]
    figure, (axes,) = style.new_figure()
    style.seeds(axes, shown, reference=LABELS["none"])
    axes.set(xlabel="right answers, %", title=sets[0])
    seeds = max(map(len, shown.values()))
    size = "AiT-Small with the paper's recipe" if full else "reduced: AiT-Tiny in patches of 8, one epoch"
    size += f", {counted(seeds, 'seed')}"
    parts = [
        f"Ours, {size} (per cent of the test images right{SPREAD if seeds > 1 else ''}; parameters and multiply-adds "
        "in millions; time of a training step over the full model's, measured in turns):",
        table(["model", "parameters", "multiply-adds", "time", *sets, "theirs: AiT-Small, mean of three sets"], rows),
    ]
    if missing:
        parts.append(f"Not run, for want of the data: {', '.join(missing)}.")
    figures = {"results": [result for results in found.values() for result in results], "missing": missing}
    figures |= {"step_seconds": seconds, "published": published.ABLATIONS}
    text = "\n\n".join(parts) + "\n"
    return Outcome("AiT without one of its parts", checks, figure, figures, text)
