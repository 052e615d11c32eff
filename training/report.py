"""Pictures of a run: curves while it trains, a confusion matrix when it is evaluated."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

_DPI = 120


def draw_curves(history: Sequence[Mapping[str, float]], path: Path, title: str = "") -> None:
    """Draw loss and accuracy over the epochs, and the memory's health where it was measured.

    Args:
        history: One row of metrics an epoch.
        path: PNG file, replaced atomically.
        title: Above the picture.
    """
    memory = memory_quantities(history)
    panels = 2 + len(memory)
    columns = min(panels, 3)
    rows = -(-panels // columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).flatten()
    losses = {"training": "train_loss", "validation": "val_loss", "validation, averaged": "ema_val_loss"}
    for label, key in losses.items():
        _line(axes[0], history, key, label)
    axes[0].set(title="loss", xlabel="epoch", ylabel="cross-entropy (nats)")
    accuracies = {"training": "train_acc", "validation": "val_acc", "validation, averaged": "ema_val_acc"}
    for label, key in accuracies.items():
        _line(axes[1], history, key, label, factor=100)
    axes[1].set(title="accuracy", xlabel="epoch", ylabel="correct (%)")
    for axis, (quantity, keys) in zip(axes[2:], memory.items(), strict=False):
        for block, key in keys:
            _line(axis, history, key, block)
        axis.set(title=f"memory: {quantity.replace('_', ' ')}", xlabel="epoch")
        axis.set_ylim(bottom=0)
    for axis in axes[:panels]:
        axis.grid(alpha=0.3)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if axis.get_legend_handles_labels()[0]:
            axis.legend(fontsize="small")
    for axis in axes[panels:]:
        axis.set_visible(False)
    if title:
        figure.suptitle(title)
    _save(figure, path)


def memory_quantities(history: Sequence[Mapping[str, float]]) -> dict[str, list[tuple[str, str]]]:
    """Columns ``memory/block{i}/{quantity}`` as quantity -> [(block label, column)]."""
    found: dict[str, list[tuple[str, str]]] = {}
    for key in dict.fromkeys(key for row in history for key in row):
        if key.startswith("memory/"):
            _, block, quantity = key.split("/", 2)
            found.setdefault(quantity, []).append((block.replace("block", "block "), key))
    return found


def draw_confusion(confusion: Tensor, classes: Sequence[str], path: Path, title: str = "") -> None:
    """Draw a confusion matrix, rows normalised to shares of each true class.

    Args:
        confusion: (classes, classes) counts, rows true, columns predicted.
        classes: Names by label.
        path: PNG file, replaced atomically.
        title: Above the picture.
    """
    count = len(classes)
    shares = confusion.double() / confusion.sum(dim=1, keepdim=True).clamp_min(1)
    side = max(4.5, min(0.55 * count + 2.0, 24.0))
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axis = figure.subplots()
    image = axis.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axis, label="share of the true class", shrink=0.8)
    axis.set(xlabel="predicted", ylabel="true", title=title or "confusion matrix")
    # Names and numbers are readable up to some size only.
    if count <= 60:
        axis.set_xticks(
            range(count), classes, rotation=90 if count > 12 else 45, ha="center" if count > 12 else "right"
        )
        axis.set_yticks(range(count), classes)
    if count <= 25:
        for row in range(count):
            for column in range(count):
                share = float(shares[row, column])
                if share >= 0.005:
                    colour = "white" if share > 0.5 else "black"
                    text = f"{100 * share:.0f}"
                    axis.text(column, row, text, ha="center", va="center", color=colour, fontsize="small")
    _save(figure, path)


def _line(axis: Axes, history: Sequence[Mapping[str, float]], key: str, label: str, factor: float = 1.0) -> None:
    points = [(row["epoch"], factor * row[key]) for row in history if key in row]
    if points:
        axis.plot(*zip(*points, strict=True), label=label, marker="." if len(points) < 30 else None)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    FigureCanvasAgg(figure).print_figure(temporary, format="png", dpi=_DPI)
    os.replace(temporary, path)
