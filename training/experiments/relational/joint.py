"""AiT, ViT and Coordination of one size on Sort-of-CLEVR, trained jointly on all kinds of questions."""

from dataclasses import replace
from pathlib import Path
from typing import Final

from training.experiments.budget import Budget, run_chosen
from training.experiments.outcome import Outcome
from training.experiments.relational.report import report
from training.experiments.relational.trial import RelationalTrial, for_this_machine, run_trial

# Per cent. AiT-Base: arXiv 2309.12862, binary questions alone; Relation Networks: arXiv 1706.01427.
THEIRS: Final = {
    "AiT-Base (theirs)": {"binary": 80.03},
    "Relation Networks (theirs)": {"binary": 89.0, "non-relational": 99.0},
}
# Widths at which the three have nearly as many parameters.
WIDTHS: Final = {"ait": 128, "vit": 152, "coordination": 184}
FULL_WIDTHS: Final = {"ait": 192, "vit": 216, "coordination": 264}
LABELS: Final = {"ait": "AiT", "vit": "ViT", "coordination": "Coordination"}

REDUCED: Final = RelationalTrial("", epochs=40, batch_size=32, precision="bf16")
FULL: Final = RelationalTrial("", epochs=100, batch_size=128, precision="bf16")


def trials(full: bool, seed: int) -> list[RelationalTrial]:
    """List what is trained: three models, with three seeds if ``full``."""
    if not full:
        shared = for_this_machine(REDUCED)
        return [
            replace(shared, label=LABELS[kind], model={"kind": kind, "dim": dim}, seed=seed)
            for kind, dim in WIDTHS.items()
        ]
    shared = for_this_machine(FULL)
    return [
        replace(shared, label=LABELS[kind], model={"kind": kind, "dim": dim, "num_heads": 8}, seed=one)
        for one in range(seed, seed + 3)
        for kind, dim in FULL_WIDTHS.items()
    ]


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train what is not trained yet, and compare.

    Args:
        full: Three seeds and 100 epochs of larger models; else few epochs and one seed.
        seed: The first.
        data: None; the images are drawn.
        folder: Where trials are kept.
        budget: Asked after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
    """
    chosen = run_chosen(trials(full, seed), lambda trial: run_trial(trial, folder, budget))
    heading = "Trained jointly on all kinds of questions"
    return report("Relational questions about Sort-of-CLEVR", heading, [result for _, result in chosen], THEIRS)
