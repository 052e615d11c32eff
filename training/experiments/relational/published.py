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
# Sides in pixels of the patches; the paper names both. Small ones, 225 tokens an image, want a GPU.
PATCHES: Final = (15, 5)

REDUCED: Final = RelationalTrial("", kinds=("binary",), epochs=10, batch_size=32, precision="bf16", faithful=True)
FULL: Final = RelationalTrial("", kinds=("binary",), epochs=100, lr=1e-4, faithful=True)


def trials(full: bool, seed: int) -> list[RelationalTrial]:
    """List what is trained: models in large patches; if ``full``, in small ones too and with three seeds."""
    shared, widths = (FULL, FULL_WIDTHS) if full else (REDUCED, WIDTHS)
    shared = for_this_machine(shared)
    found = []
    for one in range(seed, seed + 3) if full else [seed]:
        for label, model in MODELS.items():
            width = widths[model["kind"].removesuffix("-delta")]
            for patch in PATCHES if full else PATCHES[:1]:
                settings = model | {"dim": width, "num_heads": 8, "patch_size": patch, "mutual": True}
                found.append(replace(shared, label=f"{label}, patch {patch}", model=settings, seed=one))
    return found


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train what is not trained yet, and compare.

    Args:
        full: Both sizes of patches, three seeds and 100 epochs of larger models; else few epochs and one seed.
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
