"""AiT, ViT and Coordination of one size on Sort-of-CLEVR: trained jointly, and on binary questions as published.

The reduced run compares the three in one-way reading, jointly on all kinds. ``full`` adds AiT with delta attention,
and the published protocol: the data's published defects, binary questions alone, the question as first token that all
others read, and a head on all tokens.
"""

from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from training.data.sources.sort_of_clevr import KINDS
from training.experiments import style
from training.experiments.budget import Budget, run_chosen
from training.experiments.outcome import Check, Outcome
from training.experiments.relational.trial import RelationalTrial, run_trial

# Per cent. AiT-Base: arXiv 2309.12862, binary questions; Relation Networks: arXiv 1706.01427.
PUBLISHED = {
    "AiT-Base (theirs)": {"binary": 80.03},
    "Relation Networks (theirs)": {"binary": 89.0, "non-relational": 99.0},
}
# Shares of right answers that guessing the most frequent answer cannot reach.
CHANCE = {"non-relational": 0.55, "binary": 0.5}
# Widths at which the three have nearly as many parameters.
WIDTHS = {"ait": 128, "vit": 152, "coordination": 184}
FULL_WIDTHS = {"ait": 192, "ait-delta": 192, "vit": 216, "coordination": 264}
LABELS = {"ait": "AiT", "ait-delta": "AiT, delta attention", "vit": "ViT", "coordination": "Coordination"}


# Jointly on all kinds: in the reduced run, and at full size.
REDUCED = RelationalTrial("", epochs=16, batch_size=32, precision="bf16")
JOINT = RelationalTrial("", epochs=100, batch_size=128, precision="bf16")


def trials(full: bool, seed: int) -> list[RelationalTrial]:
    """List what is trained."""
    reduced = replace(REDUCED, seed=seed)
    if not full:
        return [replace(reduced, label=LABELS[kind], model={"kind": kind, "dim": dim}) for kind, dim in WIDTHS.items()]
    found = []
    for one in range(seed, seed + 3):
        for kind, dim in FULL_WIDTHS.items():
            if kind != "ait-delta":
                model = {"kind": kind, "dim": dim, "num_heads": 8}
                found.append(replace(JOINT, label=LABELS[kind], model=model, seed=one))
            for patch in (15, 5):
                found.append(
                    RelationalTrial(
                        f"{LABELS[kind]}, patch {patch}",
                        {"kind": kind, "dim": dim, "num_heads": 8, "patch_size": patch, "mutual": True},
                        ("binary",),
                        epochs=100,
                        lr=1e-4,
                        faithful=True,
                        seed=one,
                    )
                )
    return found


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train what is not trained yet, and compare.

    Args:
        full: All models and both protocols with three seeds; else three models jointly, with few epochs and one seed.
        seed: The first.
        data: None; the images are drawn.
        folder: Where trials are kept.
        budget: Asked after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
    """
    chosen = run_chosen(trials(full, seed), lambda trial: run_trial(trial, folder, budget))
    results = [result for _, result in chosen]
    joint = [result for result in results if len(result["settings"]["kinds"]) > 1]
    checks = [
        Check(f"{result['settings']['label']}, {kind}", result["accuracy"][kind], low, 1.0)
        for result in joint
        for kind, low in CHANCE.items()
    ]
    figure, (left, right) = style.new_figure(columns=2)
    heights = {
        f"{result['settings']['label']}": [100 * result["accuracy"][kind] for kind in KINDS]
        for result in joint
        if result["settings"]["seed"] == seed
    }
    if heights:
        style.bars(left, list(KINDS), heights)
    left.set(ylabel="right answers, %")
    # The first colour is not among those of bars.
    for look, result in zip(islice(style.series(), 1, None), joint, strict=False):
        epochs = [row["epoch"] for row in result["history"]]
        right.plot(
            epochs, [100 * row["binary"] for row in result["history"]], label=result["settings"]["label"], **look
        )
    right.set(xlabel="epoch", ylabel="right answers to binary questions, %")
    if joint:
        right.legend(fontsize=8)
    title = "Relational questions about Sort-of-CLEVR, 200 test images"
    # Which questions were answered rightly is told in shares.
    shown = [{key: value for key, value in result.items() if key != "right"} for result in results]
    return Outcome(title, checks, figure, {"trials": shown, "published": PUBLISHED}, markdown(results))


def markdown(results: list[dict[str, Any]]) -> str:
    """Write the tables of all trials, joint ones apart from those on binary questions alone."""
    lines = []
    headings = {
        False: "Trained jointly on all kinds of questions (per cent right):",
        True: "Trained on binary questions alone, as published (per cent right):",
    }
    for alone, heading in headings.items():
        chosen = [result for result in results if (len(result["settings"]["kinds"]) == 1) == alone]
        if not chosen:
            continue
        lines += [
            heading,
            "",
            "| model | parameters, M | multiply-adds, M | epochs | seed | " + " | ".join(KINDS) + " |",
        ]
        lines += ["|---|---|---|---|---|" + "---|" * len(KINDS)]
        for result in chosen:
            settings = result["settings"]
            cells = [
                settings["label"],
                f"{result['parameters'] / 1e6:.2f}",
                f"{result['multiply_adds'] / 1e6:.1f}",
                f"{settings['epochs']}",
                f"{settings['seed']}",
                *(f"{100 * result['accuracy'][kind]:.1f}" if kind in result["accuracy"] else "–" for kind in KINDS),
            ]
            lines.append("| " + " | ".join(cells) + " |")
        for label, accuracy in PUBLISHED.items():
            if not alone or "AiT" in label:
                cells = [f"{accuracy[kind]:g}" if kind in accuracy else "–" for kind in KINDS]
                lines.append(f"| {label} | – | – | – | – | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)
