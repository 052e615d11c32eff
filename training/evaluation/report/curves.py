"""Draw loss, accuracy and learning rate over the epochs of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from training.evaluation.report.figure import save_figure

_LOSSES = {"training": "train_loss", "validation": "val_loss", "validation, averaged": "ema_val_loss"}
_ACCURACIES = {"training": "train_acc", "validation": "val_acc", "validation, averaged": "ema_val_acc"}


def draw_curves(history: Sequence[Mapping[str, float]], path: Path, title: str = "") -> None:
    """Draw loss, accuracy and learning rate over the epochs.

    Args:
        history: One row of metrics per epoch.
        path: PNG file, replaced atomically.
        title: Of the figure.
    """
    figure = Figure(figsize=(13.5, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for label, key in _LOSSES.items():
        draw_line(loss, history, key, label)
    loss.set(title="loss", xlabel="epoch", ylabel="cross-entropy (nats)")
    for label, key in _ACCURACIES.items():
        draw_line(accuracy, history, key, label, factor=100)
    accuracy.set(title="accuracy", xlabel="epoch", ylabel="correct (%)")
    draw_line(rate, history, "lr", "")
    rate.set(title="learning rate, at the end of each epoch", xlabel="epoch")
    for axis in (loss, accuracy, rate):
        finish_axis(axis)
    if title:
        figure.suptitle(title)
    save_figure(figure, path)


def draw_line(axis: Axes, history: Sequence[Mapping[str, float]], key: str, label: str, factor: float = 1.0) -> None:
    """Draw one column over the epochs in which it was measured.

    Args:
        axis: Where to.
        history: One row of metrics per epoch.
        key: The column's name.
        label: In the legend; empty shows none.
        factor: Of the values.
    """
    points = [(row["epoch"], factor * row[key]) for row in history if row.get(key) is not None]
    if points:
        axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)


def finish_axis(axis: Axes) -> None:
    """Add a grid, ticks at whole epochs, and a legend where lines are named."""
    axis.grid(alpha=0.3)
    axis.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    if axis.get_legend_handles_labels()[0]:
        axis.legend(fontsize="small")
