"""Who takes part on which set: AiT with the published memory and with later ones, and ViTs of several widths."""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from training.data.sources.sort_of_clevr import KINDS, generate_sort_of_clevr
from training.data.sources.triangle import CLASSES, SIZE, generate_triangles
from training.experiments.blocks.comparison import load
from training.experiments.blocks.designs import DESIGNS, Size, parameters
from training.experiments.blocks.training import Images, Training, training_loss
from training.experiments.blocks.trial import EVERY, Trial, TrialPlan, run_kept_trial
from training.experiments.budget import Budget, trial_name
from training.experiments.relational import joint
from training.experiments.relational.model import RelationalModel
from training.experiments.relational.trial import RelationalTrial, for_this_machine, losses_of, make_model, run_trial

# What tables call the designs with a memory.
LABELS: Final = {"published": "AiT as published", "default": "AiT", "workspace": "latent workspace"}
_NARROW: Final = 0.75  # width of the narrowest ViT, as a share of AiT's
_WIDEST: Final = 2
_QUESTION_EPOCHS: Final = 16  # reduced: six models of three seeds each


@dataclass(frozen=True)
class Entry:
    """One model that is trained on one set.

    Attributes:
        contestant: What tables call it.
        name: Of its trial.
        run: Trains and measures, or reads what was measured: a trial for each table that it is in, by the table.
        make: Makes the model untrained.
        loss: Computes its loss of one batch; the same function for all entries of a set.
    """

    contestant: str
    name: str
    run: Callable[[], Mapping[str, Trial]]
    make: Callable[[], nn.Module]
    loss: Callable[[nn.Module], Tensor]


def entries(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> list[Entry]:
    """List all models on all sets.

    Args:
        full: Sizes and numbers of epochs that want a GPU.
        seed: The first of three.
        data: CIFAR-10 as splits of class folders; None leaves it out.
        folder: Where trials are kept.
        budget: Asked before every trial, and after every epoch.

    Raises:
        DataError: The images cannot be used.
    """
    seeds = range(seed, seed + 3)
    found = []
    if data is not None:
        images = load(data, None if full else 1000, 32)
        size = Size(32, int(images.train_labels.max()) + 1, **({} if full else {"width": 96}))
        training = Training(epochs=8, batch=512, rate=2e-3, padding=4) if full else Training(epochs=3)
        found += _on_images("CIFAR-10", images, size, training, seeds, folder, budget)
    size = Size(SIZE, len(CLASSES), patch=32, merged=2, **({} if full else {"width": 96}))
    training = Training(epochs=100, batch=512, rate=1e-3) if full else Training(epochs=20)
    found += _on_images("Triangle", triangles(50_000, 10_000), size, training, seeds, folder, budget)
    return found + _on_questions(full, seeds, folder, budget)


def triangles(train: int, test: int) -> Images:
    """Draw triangles as the published set has them, white on black in three channels."""
    learnt, asked = generate_triangles(train, 0, faithful=True), generate_triangles(test, 0, "val", faithful=True)
    images = learnt.images.expand(-1, 3, -1, -1), learnt.labels, asked.images.expand(-1, 3, -1, -1), asked.labels
    values = learnt.images.float()
    return Images(*images, float(values.mean()), float(values.std()))


def _on_images(
    table: str, images: Images, size: Size, training: Training, seeds: range, folder: Path, budget: Budget
) -> list[Entry]:
    plans = {LABELS[design]: TrialPlan(design, size, training, 0) for design in LABELS}
    widths = {int(_NARROW * size.width), size.width, matched_width("default", size), matched_width("published", size)}
    plans |= {f"ViT {width}": TrialPlan("vit", replace(size, width=width), training, 0) for width in sorted(widths)}

    def run(plan: TrialPlan) -> dict[str, Trial]:
        return {table: run_kept_trial(plan, images, folder, budget)}

    def loss(model: nn.Module) -> Tensor:
        device = next(model.parameters()).device
        batch, labels = images.train[: training.batch].to(device), images.train_labels[: training.batch].to(device)
        return training_loss(model, images.normalised(batch), labels, training)

    found = []
    for contestant, plan in plans.items():
        make = partial(DESIGNS[plan.design].make, plan.size)
        for one in seeds:
            named = replace(plan, seed=one, label=trial_name(table, contestant))
            found.append(Entry(contestant, named.name, partial(run, named), make, loss))
    return found


def matched_width(design: str, size: Size) -> int:
    """Find the width of the ViT that stores nearly as many numbers as a design of some size, with as many heads."""

    def stored(design: str, width: int) -> int:
        with torch.device("meta"):
            return parameters(DESIGNS[design].make(replace(size, width=width)))

    target = stored(design, size.width)
    widths = range(size.width, _WIDEST * size.width, size.heads)
    place = max(bisect_left(widths, target, key=partial(stored, "vit")), 1)  # a wider one stores more
    return min(widths[place - 1 : place + 1], key=lambda width: abs(stored("vit", width) - target))


def _on_questions(full: bool, seeds: range, folder: Path, budget: Budget) -> list[Entry]:
    widths = joint.FULL_WIDTHS if full else joint.WIDTHS
    heads = 8 if full else 4
    shared = for_this_machine(joint.FULL if full else replace(joint.REDUCED, epochs=_QUESTION_EPOCHS))
    models: dict[str, dict[str, Any]] = {
        LABELS["published"]: {"kind": "ait", "dim": widths["ait"], "memory": "published"},
        LABELS["default"]: {"kind": "ait", "dim": widths["ait"]},
        LABELS["workspace"]: {"kind": "workspace", "dim": widths["ait"]},
    }
    for width in (int(_NARROW * widths["ait"]), widths["ait"], widths["vit"]):
        models[f"ViT {width}"] = {"kind": "vit", "dim": width}
    batch = generate_sort_of_clevr(shared.batch_size, 0)

    def loss(model: nn.Module) -> Tensor:
        assert isinstance(model, RelationalModel)
        device = next(model.parameters()).device
        answers, balance = losses_of(model, batch, torch.arange(shared.batch_size), device, shared.precision)
        return answers + shared.balance_weight * balance

    found = []
    for contestant, model in models.items():
        for one in seeds:
            label = trial_name("Sort-of-CLEVR", contestant)
            trial = replace(shared, label=label, model=model | {"num_heads": heads}, seed=one)
            make = partial(make_model, trial)
            found.append(Entry(contestant, trial.name, partial(_asked, trial, folder, budget), make, loss))
    return found


def _asked(trial: RelationalTrial, folder: Path, budget: Budget) -> dict[str, Trial]:
    """Train on all kinds of questions; a trial for each."""
    result = run_trial(trial, folder, budget)
    seconds = sum(row["seconds"] for row in result["history"])
    trials = {}
    for kind in KINDS:
        right = {
            change: torch.tensor([digit == "1" for digit in kinds[kind]])[:: 1 if change == "on" else EVERY]
            for change, kinds in result["right"].items()
        }
        trials[f"Sort-of-CLEVR, {kind}"] = Trial(
            trial.label, trial.seed, result["parameters"], result["multiply_adds"], seconds, right
        )
    return trials
