"""AiT and its baselines on the paper's data sets.

``full`` is the paper's: its sizes, its recipe, three seeds. The reduced run trains models of width 192, for one epoch
on CIFAR-10 in patches of 8 pixels and for five on Triangle, to see that all of them learn and what they cost.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from training.experiments import style
from training.experiments.budget import Budget
from training.experiments.outcome import Outcome
from training.experiments.tables import published
from training.experiments.tables.datasets import OUR_TRIANGLE, TABLE_DATA
from training.experiments.tables.markdown import SPREAD, accuracy, cost, table, theirs
from training.experiments.tables.trial import TableTrial, run_trial, run_trials

_PLAIN: Final = {"class_token": False, "global_pool": "avg"}
_PUBLISHED: Final = {"memory": "published", "global_pool": "flat"}
# AiT as in the paper, dropout of the write attention included.
PAPER: Final[dict[str, Any]] = {**_PUBLISHED, "memory_args": {"write_dropout": 0.1}}


def _vit(depth: int, width: int = 768, heads: int = 12) -> dict[str, Any]:
    return {"embed_dim": width, "depth": depth, "num_heads": heads, **_PLAIN}


# Label -> timm model and arguments, as published and reduced.
FULL: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "AiT-Base": ("ait_base_patch4_32", PAPER),
    "AiT-Medium": ("ait_medium_patch4_32", PAPER),
    "AiT-Small": ("ait_small_patch4_32", PAPER),
    "ViT-Base": ("vit_base_patch16_224", _vit(12)),
    "ViT-Medium": ("vit_base_patch16_224", _vit(6)),
    "ViT-Small": ("vit_base_patch16_224", _vit(2)),
    "Perceiver": ("perceiver_patch4_32", {}),
    "Set Transformer": ("set_transformer_patch4_32", {}),
    "Luna": ("luna_patch4_32", {}),
    "BRIMs": ("brims_patch4_32", {}),
    "Coordination": ("coordination_patch4_32", {}),
    "Coordination-DH": ("coordination_dh_patch4_32", {}),
    "Coordination-D": ("coordination_d_patch4_32", {}),
    "Coordination-H": ("coordination_h_patch4_32", {}),
    "Coordination, soft": ("coordination_soft_patch4_32", {}),
    "TR": ("coordination_tr_patch4_32", {}),
    "STR": ("coordination_str_patch4_32", {}),
    "TR+HC": ("coordination_tr_hc_patch4_32", {}),
    "ISAB": ("coordination_isab_patch4_32", {}),
}
REDUCED: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "AiT": ("ait_tiny_patch4_32", {}),
    "AiT as published": ("ait_tiny_patch4_32", _PUBLISHED),
    "ViT": ("vit_tiny_patch16_224", _vit(4, 192, 3)),
    "Perceiver": ("perceiver_patch4_32", {"embed_dim": 192, "num_latents": 16, "depth": 2, "num_heads": 3}),
    "Set Transformer": ("set_transformer_patch4_32", {"embed_dim": 192}),
    "Luna": ("luna_patch4_32", {"embed_dim": 192}),
    "BRIMs": ("brims_patch4_32", {"embed_dim": 192, "hidden_dim": 192}),
    "Coordination": ("coordination_patch4_32", {"embed_dim": 192}),
}
# The paper's three sizes, which differ in their blocks: reduced in width alone.
REDUCED_SIZES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    f"{kind}-{size}": model
    for size, depth in (("Small", 2), ("Medium", 6), ("Base", 12))
    for kind, model in (
        ("AiT", ("ait_tiny_patch4_32", {**_PUBLISHED, "depth": depth})),
        ("ViT", ("vit_tiny_patch16_224", _vit(depth, 192, 3))),
    )
}
# Coordination's variants and what its own paper compares it with: reduced, on CIFAR-10 alone. With 16 tokens, of which
# the 20 largest scores are all, the soft workspace and STR would be Coordination and TR again.
REDUCED_COMPANIONS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    label: (f"coordination_{kind}_patch4_32", {"embed_dim": width})
    for label, kind, width in (
        ("Coordination-DH", "dh", 384),
        ("Coordination-D", "d", 192),
        ("Coordination-H", "h", 384),
        ("TR", "tr", 192),
        ("TR+HC", "tr_hc", 192),
        ("ISAB", "isab", 192),
    )
}
# One epoch of steps that are long enough to learn in it.
QUICK: Final[dict[str, Any]] = {
    "epochs": 1,
    "batch_size": 128,
    "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.01},
    "schedule": {"kind": "cosine", "warmup_epochs": 0.1, "min_lr": 1e-6},
}
_MORE: Final = {"epochs": 5}  # one of Triangle is over before any model sees more than how large a triangle is
# A quarter of the tokens, of which most of a step's time comes.
COARSE: Final[dict[str, Any]] = {"patch_size": 8}


def trials(full: bool, seed: int) -> list[TableTrial]:
    """List what is trained, data set after data set."""
    if not full:
        return [
            TableTrial(label, dataset, model, args | coarse, QUICK | more, seed)
            for dataset, coarse, more, models in (
                ("CIFAR-10", COARSE, {}, REDUCED | REDUCED_SIZES | REDUCED_COMPANIONS),
                ("Triangle", {}, _MORE, REDUCED | REDUCED_SIZES),
                (OUR_TRIANGLE, {}, _MORE, {label: REDUCED[label] for label in ("AiT", "AiT as published", "ViT")}),
            )
            for label, (model, args) in models.items()
        ]
    return [
        TableTrial(label, dataset, model, args, {}, one)
        for dataset in published.DATASETS
        for one in range(seed, seed + 3)
        for label, (model, args) in FULL.items()
    ]


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train what is not trained yet, and compare.

    Args:
        full: The paper's sizes, sets and recipe; else the reduced run.
        seed: The first.
        data: Folder with ``cifar10``, ``cifar100``, ``pet`` and ``imagenet100``, as far as they are there; or None.
        folder: Where trials are kept.
        budget: Asked after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
        DataError: Data cannot be used, or none are there.
    """
    found, missing = run_trials(trials(full, seed), lambda trial: run_trial(trial, data, folder, budget))
    sets = [name for name in TABLE_DATA if any(dataset == name for _, dataset in found)]
    labels = list(dict.fromkeys(label for label, _ in found))
    checks = [
        TABLE_DATA[dataset].learnt(f"{label} on {dataset}", results[0]["accuracy"])
        for (label, dataset), results in found.items()
    ]
    figure, panels = style.new_figure(columns=max(1, len(sets)))
    for axes, dataset in zip(panels, sets, strict=False):
        for look, label in zip(style.points(), labels, strict=False):
            results = found.get((label, dataset), [])
            if results:
                size, right = results[0]["parameters"] / 1e6, 100 * results[0]["accuracy"]
                axes.plot([size], [right], label=label, **look)
        axes.set(xlabel="parameters, millions", ylabel="right answers, %", title=dataset, xscale="log")
        style.plain_numbers(axes)
    if found:
        style.legend_below(figure, panels)
    text = markdown(found, sets, missing, full)
    figures = {"results": [result for results in found.values() for result in results], "missing": missing}
    return Outcome("AiT and its baselines", checks, figure, figures | {"published": published.ACCURACY}, text)


def markdown(
    found: Mapping[tuple[str, str], list[dict[str, Any]]], sets: list[str], missing: list[str], full: bool
) -> str:
    """Write our table, what has no data, and the published table."""
    rows = []
    for label in dict.fromkeys(label for label, _ in found):
        results = [found.get((label, dataset), []) for dataset in sets]
        first = next(each[0] for each in results if each)
        rows.append([label, *cost(first), *map(accuracy, results)])
    what = (
        "with the paper's recipe"
        if full
        else "reduced: width 192, one epoch of CIFAR-10 in patches of 8 and five of each Triangle, AdamW at 1e-3, "
        "batch 128, one seed"
    )
    parts = [
        f"Ours, {what} (per cent of the test images right{SPREAD if full else ''}; parameters and multiply-adds in "
        "millions, first set):",
        table(["model", "parameters", "multiply-adds", *sets], rows),
    ]
    if missing:
        parts.append(f"Not run, for want of the data: {', '.join(missing)}.")
    head = ["model (theirs)", "parameters", *published.DATASETS]
    theirs_rows = [
        [
            label,
            f"{published.PARAMETERS[label]:.1f}" if label in published.PARAMETERS else "–",
            *(
                theirs(values.get(dataset), dataset == published.UNCHECKED.get(label))
                for dataset in published.DATASETS
            ),
        ]
        for label, values in published.ACCURACY.items()
    ]
    parts += [
        "Theirs, as published (arXiv 2309.12862; * the row could not be checked against the paper, its mean could):",
        table(head, theirs_rows),
    ]
    return "\n\n".join(parts) + "\n"
