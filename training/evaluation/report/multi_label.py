"""Report on a classifier whose classes do not exclude each other."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ait_lite.checkpoint import write_text
from training.evaluation.multi_label import MultiLabelResult
from training.evaluation.report.curves import draw_curves

_COLUMNS = ("class", "images", "average precision", "threshold", "precision", "recall", "F1")


def write_multi_label_report(
    folder: Path,
    result: MultiLabelResult,
    *,
    title: str,
    history: Sequence[Mapping[str, float]] = (),
    settings: Mapping[str, Any] | None = None,
    chosen_by: bool = False,
    figures: bool = True,
) -> Path:
    """Write ``report.md`` and the curves of the run into a folder; what lies there under the same names is replaced.

    Args:
        folder: Created if there is none.
        result: What `measure_multi_label` says.
        title: First line of the page.
        history: One row of metrics per epoch; empty leaves the curves out.
        settings: The run's recipe; empty or None leaves it out.
        chosen_by: True where the best epoch and the thresholds were chosen by these images.
        figures: False leaves the curves out.

    Returns:
        The page's path.

    Raises:
        OSError: A file cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    parts = [
        f"# {' '.join(title.split())}",
        f"{result.images:,} images; mean average precision (mAP) {result.mean_average_precision:.2%}, binary "
        f"cross-entropy {result.loss:.4f}.",
    ]
    if chosen_by:
        parts.append("The best epoch and the thresholds were chosen by these same images: expect less on others.")
    lines = ["| " + " | ".join(_COLUMNS) + " |", "|---" * len(_COLUMNS) + "|"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in _rows(result)]
    parts.append("\n".join(lines))
    if history and figures:
        draw_curves(history, folder / "curves.png")
        parts.append("![Loss, accuracy and learning rate over the epochs](curves.png)")
    if settings:
        parts.append(f"```yaml\n{yaml.safe_dump(dict(settings), sort_keys=False)}```")
    path = folder / "report.md"
    write_text(path, "\n\n".join(parts) + "\n")
    return path


def print_multi_label(result: MultiLabelResult, console: Console) -> None:
    """Print the figures overall and of each class."""
    console.print(
        f"{result.images:,} images: mean average precision {result.mean_average_precision:.2%}, binary cross-entropy "
        f"{result.loss:.4f}",
        highlight=False,
    )
    table = Table(_COLUMNS[0])
    for column in _COLUMNS[1:]:
        table.add_column(column, justify="right")
    for name, *cells in _rows(result):
        table.add_row(escape(name), *cells)
    console.print(table)


def _rows(result: MultiLabelResult) -> list[list[str]]:
    def share(value: float | None) -> str:
        return "–" if value is None else f"{value:.2%}"

    return [
        [
            " ".join(name.split()),
            f"{each.images:,}",
            share(each.average_precision),
            f"{each.threshold:.3f}",
            share(each.precision),
            share(each.recall),
            share(each.f1),
        ]
        for name, each in result.per_class.items()
    ]
