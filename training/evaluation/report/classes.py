"""Show how good a model is on each class."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure
from torch import Tensor

from training.evaluation.metrics import Interval, wilson_interval
from training.evaluation.report.figure import READABLE_CLASSES, label_text, save_figure

# Of more classes than are readable, so many of the worst and of the best.
_SHOWN_OF_MANY = 12


@dataclass(frozen=True)
class ClassScore:
    """The figures of one class.

    Attributes:
        name: The class.
        images: Its images.
        right: Those that were given its label.
        given: Images of any class that were given its label.
    """

    name: str
    images: int
    right: int
    given: int

    @property
    def accuracy(self) -> float:
        """Share of the class's images that were answered right, its recall."""
        return self.right / self.images

    @property
    def interval(self) -> Interval:
        """95 % confidence interval of the accuracy."""
        return wilson_interval(self.right, self.images)

    @property
    def precision(self) -> float | None:
        """Share of the answers with its label that are right; None if there are none."""
        return self.right / self.given if self.given else None


class Extremes(NamedTuple):
    """The classes to show.

    Attributes:
        best: The best first.
        worst: The worst last; empty where `best` holds all classes.
    """

    best: Sequence[ClassScore]
    worst: Sequence[ClassScore]


def class_scores(confusion: Tensor, classes: Sequence[str]) -> list[ClassScore]:
    """Score every class that has images, the best first.

    Args:
        confusion: (classes, classes) counts, rows true, columns predicted.
        classes: Names by label.
    """
    counts = zip(
        classes,
        confusion.sum(dim=1).tolist(),
        confusion.diag().tolist(),
        confusion.sum(dim=0).tolist(),
        strict=True,
    )
    scores = [ClassScore(*count) for count in counts if count[1]]
    return sorted(scores, key=lambda score: score.accuracy, reverse=True)


def extremes(scores: Sequence[ClassScore]) -> Extremes:
    """Choose the classes to show: all of them as the best where they are few, else the best and the worst.

    Args:
        scores: As `class_scores` gives them.
    """
    if len(scores) <= READABLE_CLASSES:
        return Extremes(scores, ())
    return Extremes(scores[:_SHOWN_OF_MANY], scores[-_SHOWN_OF_MANY:])


def draw_class_accuracy(scores: Sequence[ClassScore], path: Path) -> None:
    """Draw the accuracy of each class as bars; of many classes the best, the worst, and how all are spread.

    Args:
        scores: As `class_scores` gives them.
        path: PNG file, replaced atomically.
    """
    best, worst = extremes(scores)
    names = [label_text(score.name) for score in best]
    values = [100 * score.accuracy for score in best]
    if worst:
        names += ["…", *(label_text(score.name) for score in worst)]
        values += [0.0, *(100 * score.accuracy for score in worst)]
    height = 0.28 * len(names) + 1.2
    figure = Figure(figsize=(11 if worst else 7.5, max(height, 2.4)), layout="constrained")
    axes = figure.subplots(1, 2 if worst else 1, squeeze=False)[0]
    places = range(len(names))
    axes[0].barh(places, values, color=["tab:blue"] * len(best) + ["tab:red"] * (len(names) - len(best)))
    axes[0].set_yticks(places, names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        if name != "…":
            axes[0].text(111, place, f"{value:.1f}", va="center", ha="right", fontsize="small")
    mean = 100 * sum(score.accuracy for score in scores) / len(scores)
    axes[0].axvline(mean, color="black", linestyle="--", linewidth=1, label=f"mean of the classes, {mean:.1f} %")
    axes[0].set(xlabel="correct (%)", xlim=(0, 112), title="accuracy of each class")
    axes[0].set_xticks(range(0, 101, 20))
    axes[0].grid(axis="x", alpha=0.3)
    axes[0].set_axisbelow(True)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", fontsize="small", frameon=False)
    if worst:
        axes[0].set_title(f"the best and the worst of {len(scores)} classes")
        axes[1].hist([100 * score.accuracy for score in scores], bins=20, range=(0, 100))
        axes[1].set(xlabel="correct (%)", ylabel="classes", title="all classes")
        axes[1].grid(alpha=0.3)
    save_figure(figure, path)
