"""Show which classes are taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from training.evaluation.report.figure import READABLE_CLASSES, label_text, save_figure

_SHOWN_OF_MANY = 20


@dataclass(frozen=True)
class Confusion:
    """Images of one class that were taken for another.

    Attributes:
        true: Label of the images.
        given: Label they were given.
        images: How many.
        share: Their share of the class's images.
    """

    true: int
    given: int
    images: int
    share: float


def top_confusions(confusion: Tensor, count: int) -> list[Confusion]:
    """List the most frequent confusions, at most `count`, without those that never happened.

    Args:
        confusion: (classes, classes) counts, rows true, columns predicted.
        count: How many at most.
    """
    mistakes = confusion.clone().fill_diagonal_(0)
    totals = confusion.sum(dim=1)
    order = mistakes.flatten().argsort(descending=True, stable=True)[:count].tolist()
    pairs = [(*divmod(position, len(confusion)), int(mistakes.flatten()[position])) for position in order]
    return [Confusion(true, given, images, images / int(totals[true])) for true, given, images in pairs if images]


def draw_confusion(confusion: Tensor, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Draw a confusion matrix, rows normalised to shares of each true class.

    Of more than `READABLE_CLASSES` classes, those of the most frequent confusions are drawn, and the last column
    holds the share of all others.

    Args:
        confusion: (classes, classes) counts, rows true, columns predicted.
        classes: Names by label.
        path: PNG file, replaced atomically.
        title: Of the figure.
    """
    shares = confusion.double() / confusion.sum(dim=1, keepdim=True).clamp_min(1)
    rows = [label_text(name) for name in classes]
    columns = rows
    if len(classes) > READABLE_CLASSES:
        shown = _most_confused(confusion)
        rows = [rows[label] for label in shown]
        columns = [*rows, "all others"]
        inner = shares[shown][:, shown]
        others = shares[shown].sum(dim=1, keepdim=True) - inner.sum(dim=1, keepdim=True)
        shares = torch.cat([inner, others], dim=1)  # (shown, shown + 1)
        title = f"{title + ': ' if title else ''}the {len(shown)} most confused of {len(classes)} classes"
    side = max(4.8, 0.5 * len(columns) + 2.2)
    figure = Figure(figsize=(side + 0.9, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axis, label="share of the true class", shrink=0.8)
    axis.set(xlabel="predicted", ylabel="true", title=title or "confusion matrix")
    upright = len(columns) > 12
    axis.set_xticks(range(len(columns)), columns)
    axis.tick_params(axis="x", labelrotation=90 if upright else 40)
    for tick in axis.get_xticklabels():
        tick.set(ha="center" if upright else "right", rotation_mode="default" if upright else "anchor")
    axis.set_yticks(range(len(rows)), rows)
    for row in range(len(rows)):
        for column in range(len(columns)):
            share = float(shares[row, column])
            if share >= 0.005:
                colour = "white" if share > 0.5 else "black"
                axis.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=colour, fontsize="small")
    save_figure(figure, path)


def _most_confused(confusion: Tensor) -> list[int]:
    """Labels in the most frequent confusions, each beside what it is confused with."""
    labels: list[int] = []
    # Fewer than this many confusions lie among the classes shown, so that the loop ends at their number.
    for pair in top_confusions(confusion, _SHOWN_OF_MANY**2):
        new = [label for label in (pair.true, pair.given) if label not in labels]
        if len(labels) + len(new) > _SHOWN_OF_MANY:
            break
        labels += new
    # A model without mistakes has nothing to show but that.
    return labels or confusion.sum(dim=1).argsort(descending=True, stable=True)[:_SHOWN_OF_MANY].tolist()
