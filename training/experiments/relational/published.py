"""AiT, ViT and Coordination of one size on Sort-of-CLEVR by the protocol of AiT's paper.

Binary questions alone, about images with the defects of the public generators; the question is the first token, which
all others read, and the head reads all tokens.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from training.experiments.budget import Budget, run_chosen
from training.experiments.outcome import Outcome
from training.experiments.relational.joint import FULL_WIDTHS, THEIRS, WIDTHS
from training.experiments.relational.report import report
from training.experiments.relational.trial import RelationalTrial, for_this_machine, run_trial

MODELS: Final[dict[str, dict[str, Any]]] = {
    "AiT as published": {"kind": "ait", "memory": "published"},
    "AiT": {"kind": "ait"},
    "AiT, delta attention": {"kind": "ait-delta"},
    "ViT": {"kind": "vit"},
    "Coordination": {"kind": "coordination"},
}
# The paper's own, by depth, at its width and number of heads; with its dropout of the write attention.
SIZES: Final = {"AiT-Base": 12, "AiT-Medium": 6, "AiT-Small": 2}
_PAPER: Final[dict[str, Any]] = {
    "kind": "ait",
    "dim": 768,
    "num_heads": 12,
    "memory": "published",
    "memory_args": {"write_dropout": 0.1},
}
# Sides in pixels of the patches; the paper names both. Small ones, 225 tokens an image, want a GPU.
PATCHES: Final = (15, 5)

REDUCED: Final = RelationalTrial("", kinds=("binary",), epochs=10, batch_size=32, precision="bf16", faithful=True)
# From 1e-5 to 1e-4 in five epochs, then down to 1e-6; images of a batch come with all their binary questions.
FULL: Final = RelationalTrial(
    "", kinds=("binary",), epochs=100, lr=1e-4, first_lr=0.1, last_lr=0.01, precision="bf16", faithful=True
)


def trials(full: bool, seed: int) -> list[RelationalTrial]:
    """List what is trained: models of one size in large patches; if ``full``, the paper's too, and in small ones."""
    shared, widths = (FULL, FULL_WIDTHS) if full else (REDUCED, WIDTHS)
    models = {
        label: {"dim": widths[model["kind"].removesuffix("-delta")], "num_heads": 8, **model}
        for label, model in MODELS.items()
    }
    if full:
        models |= {label: _PAPER | {"depth": depth} for label, depth in SIZES.items()}
    shared = for_this_machine(shared)
    found = []
    for one in range(seed, seed + 3) if full else [seed]:
        for label, model in models.items():
            for patch in PATCHES if full else PATCHES[:1]:
                settings = {**model, "patch_size": patch, "mutual": True}
                found.append(replace(shared, label=f"{label}, patch {patch}", model=settings, seed=one))
    return found


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train what is not trained yet, and compare.

    Args:
        full: The paper's sizes too, both sizes of patches, three seeds, 100 epochs; else few epochs and one seed.
        seed: The first.
        data: None; the images are drawn.
        folder: Where trials are kept.
        budget: Asked after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
    """
    chosen = run_chosen(trials(full, seed), lambda trial: run_trial(trial, folder, budget))
    heading = "Trained on binary questions alone, as published"
    theirs = {name: accuracy for name, accuracy in THEIRS.items() if "AiT" in name}
    return report("Binary questions about Sort-of-CLEVR", heading, [result for _, result in chosen], theirs)
