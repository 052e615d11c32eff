"""Memory in the blocks: each design beside transformers without one, of as many parameters and as many multiply-adds.

All models are made of the same blocks and trained by the same recipe on the same images in the same order. A memory
pays where it beats its controls by more than the interval *and* loses accuracy when it is taken away.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Final

import torch
from torch import Tensor

from training.data.decode import decode
from training.data.preprocessing import Preprocessing
from training.data.samples import LabelledImages
from training.data.sources.folder import scan_splits
from training.errors import DataError
from training.experiments import style
from training.experiments.blocks.designs import DESIGNS, Size
from training.experiments.blocks.memories import INTERVENTIONS
from training.experiments.blocks.training import Images, Training
from training.experiments.blocks.trial import EVERY, Trial, TrialPlan, run_kept_trial
from training.experiments.budget import Budget, run_chosen
from training.experiments.familiarity.images import SHAPES, SIZE, shape_images
from training.experiments.outcome import Check, Outcome

_SMALL: Final = {"width": 32, "heads": 2, "merged": 4, "prototypes": 64, "priors": 8}
# Two-sided 95 % of Student's t by degrees of freedom.
_T: Final = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


@dataclass(frozen=True)
class Difference:
    """What a model has over another, in shares of right answers, over the same seeds and test images.

    Attributes:
        mean: Mean over seeds.
        over_images: Half of its 95 % interval, were other test images drawn.
        over_seeds: Half of its 95 % interval, were others trained; None for one seed.
    """

    mean: float
    over_images: float
    over_seeds: float | None


def difference(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Difference:
    """Compare right answers (n,), one tensor a seed, in the same order of seeds."""
    paired = torch.stack([a.double() - b.double() for a, b in zip(ours, theirs, strict=True)])  # (S, n)
    over_images = 1.96 * float(paired.mean(0).std()) / paired.shape[1] ** 0.5
    seeds = paired.mean(1).tolist()
    many = len(seeds)
    over_seeds = _T[min(many - 1, max(_T))] * stdev(seeds) / many**0.5 if many > 1 else None
    return Difference(mean(seeds), over_images, over_seeds)


def load(root: Path, each: int | None, size: int) -> Images:
    """Decode the first images of every class of a folder's ``train`` split, and all of its other split.

    Args:
        root: Folder with splits of class folders, such as CIFAR-10's.
        each: Training images of a class; None: all.
        size: Side to which they are resized.

    Raises:
        DataError: The folder has no splits, or images that cannot be decoded.
    """
    train, test = scan_splits(root)
    if test is None:
        raise DataError(f"{root} must have the splits train/ and test/ (or val/).")
    chosen = [
        int(position)
        for label in range(len(train.classes))
        for position in (train.labels == label).nonzero().squeeze(1)[:each]
    ]
    train = train.select(chosen)
    return Images(_pixels(train, size), train.labels, _pixels(test, size), test.labels)


def _pixels(samples: LabelledImages, size: int) -> Tensor:
    unit = (1.0, 1.0, 1.0)
    return decode(samples, Preprocessing((3, size, size), "bicubic", unit, unit, 1.0, "center"))[1]


def drawn(each: int, seed: int) -> Images:
    """Draw shapes: `each` images of every class to learn, a quarter to test."""
    generator = torch.Generator().manual_seed(seed)
    train, labels = shape_images(each, generator)
    test, test_labels = shape_images(max(each // 4, 1), generator)
    return Images(_bytes(train), labels, _bytes(test), test_labels)


def _bytes(images: Tensor) -> Tensor:
    return (127.5 + 64 * images).clamp(0, 255).to(torch.uint8)


def run(full: bool, seed: int, data: Path | None, folder: Path, budget: Budget) -> Outcome:
    """Train every design and its controls that are not trained yet, and compare.

    Args:
        full: Three seeds in place of one; with `data`, models of width 192 on all images for 8 epochs, which wants a
            GPU, in place of width 96 on 1,000 a class for 3, which takes half an hour of one core. Without, more
            images and epochs.
        seed: The first seed; the others follow.
        data: Folder with splits of class folders; None draws shapes.
        folder: Where trials are kept.
        budget: Asked before every trial, and after every epoch.

    Raises:
        OutOfTime: Another command has to go on.
        DataError: The images cannot be used.
    """
    if data is None:
        images, size = drawn(400 if full else 150, seed), Size(SIZE, SHAPES, **_SMALL)
        training = Training(epochs=12 if full else 8, rate=3e-3)
    else:
        images = load(data, None if full else 1000, 32)
        training = Training(epochs=8, batch=512, rate=2e-3, padding=4) if full else Training(epochs=3)
        size = Size(32, int(images.train_labels.max()) + 1, **({} if full else {"width": 96}))
    seeds = range(seed, seed + (3 if full else 1))
    plans = [TrialPlan(name, size, training, one) for name in DESIGNS for one in seeds]
    trials: dict[str, list[Trial]] = {}
    for plan, trial in run_chosen(plans, lambda plan: run_kept_trial(plan, images, folder, budget)):
        trials.setdefault(plan.design, []).append(trial)
    return outcome(trials, size)


def outcome(trials: Mapping[str, Sequence[Trial]], size: Size) -> Outcome:
    """Compare trials, by design; each has the same seeds, or the first of the longest's.

    Args:
        trials: A design whose controls are missing is not compared with them.
        size: Size of the models.
    """
    figures = {
        name: {"about": DESIGNS[name].about}
        | measured(several, {control: trials.get(control, ()) for control in DESIGNS[name].controls})
        for name, several in trials.items()
    }
    checks = [
        Check(f"{name}, accuracy over chance", mean(t.accuracy() for t in several) * size.classes, 1.2, size.classes)
        for name, several in trials.items()
        if not name.startswith("vit-")
    ]
    vit = trials.get("vit")
    if vit and "merge" in trials:
        share = trials["merge"][0].multiply_adds / vit[0].multiply_adds
        checks.append(Check("multiply-adds with merged tokens, share of the ViT's", share, 0.5, 0.8))
    if vit and "workspace" in trials:
        share = trials["workspace"][0].parameters / vit[0].parameters
        checks.append(Check("parameters of the workspace, share of the ViT's", share, 1.0, 1.1))
    figure, (left, right) = style.new_figure(columns=2)
    for name, several in trials.items():
        place = several[0].multiply_adds / 1e6, mean(trial.accuracy() for trial in several)
        # Models with a memory are filled. There are more of them than colours can tell apart, so each has its name.
        filled = style.COLOURS[1] if "off" in several[0].right else "none"
        left.plot(*place, marker="o", markerfacecolor=filled, markeredgecolor=style.COLOURS[1])
        left.annotate(name, place, (4, 3), textcoords="offset points", fontsize=6)
    left.set(xlabel="multiply-adds of an image, millions", ylabel="accuracy")
    with_memory = [name for name, several in trials.items() if "off" in several[0].right]
    places = range(len(with_memory))
    for offset, change in enumerate(INTERVENTIONS):
        lost = [figures[name][change]["mean"] for name in with_memory]
        right.barh([place + 0.25 * offset for place in places], lost, 0.25, label=change)
    right.set_yticks([place + 0.25 for place in places], with_memory, fontsize=7)
    right.set(xlabel="accuracy with the memory disturbed, less as it is")
    if with_memory:
        right.legend(fontsize=8)
    return Outcome(
        "Memory in the blocks, beside transformers without", checks, figure, figures, markdown=_table(figures)
    )


def measured(several: Sequence[Trial], controls: Mapping[str, Sequence[Trial]]) -> dict[str, Any]:
    """Describe the trials of one model, one a seed: costs, accuracy, what it loses without its memory.

    Args:
        several: Its trials.
        controls: Those of models that it is compared with, by name, over the seeds that both have.
    """
    own = [trial.right["on"] for trial in several]
    found: dict[str, Any] = {
        "seeds": [trial.seed for trial in several],
        "parameters": several[0].parameters,
        "multiply-adds": several[0].multiply_adds,
        "seconds": mean(trial.seconds for trial in several),
        "accuracy": mean(trial.accuracy() for trial in several),
        "accuracy of each seed": [trial.accuracy() for trial in several],
    }
    for change in INTERVENTIONS:
        if change in several[0].right:
            found[change] = vars(
                difference([trial.right[change] for trial in several], [right[::EVERY] for right in own])
            )
    for control, their_trials in controls.items():
        theirs = {trial.seed: trial.right["on"] for trial in their_trials}
        shared = [trial for trial in several if trial.seed in theirs]
        if shared:
            found[f"over {control}"] = vars(
                difference([trial.right["on"] for trial in shared], [theirs[trial.seed] for trial in shared])
            )
    return found


def _table(figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Show all figures as Markdown; accuracies in percent, differences in points with the interval over images."""
    lines = [
        "| design | parameters | million madds | seconds | accuracy | off | equal | shuffled | over controls |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, found in figures.items():
        changes = [_points(found[change]) if change in found else "" for change in INTERVENTIONS]
        over = ", ".join(
            f"{key.removeprefix('over ')} {_points(value)}" for key, value in found.items() if key.startswith("over ")
        )
        cells = [
            name,
            f"{found['parameters']:,}",
            f"{found['multiply-adds'] / 1e6:.1f}",
            f"{found['seconds']:.0f}",
            f"{100 * found['accuracy']:.2f}",
            *changes,
            over,
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _points(found: Mapping[str, float]) -> str:
    return f"{100 * found['mean']:+.2f} ± {100 * found['over_images']:.2f}"
