"""Parts that the figures of a report share."""

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ait_lite.checkpoint import atomic_file

_DPI = 120
# Beyond these many classes, figures and tables show the extremes only.
READABLE_CLASSES = 30


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure as a PNG file, atomically; its folder is created.

    Raises:
        OSError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        FigureCanvasAgg(figure).print_figure(temporary, format="png", dpi=_DPI)


def label_text(name: str, length: int = 24) -> str:
    """Shorten a class name to at most `length` characters, and keep its dollar signs from opening a formula."""
    name = " ".join(name.split())
    shortened = name if len(name) <= length else f"{name[: length - 1]}…"
    return shortened.replace("$", r"\$")


def percent(interval: tuple[float, float]) -> str:
    """Write an interval of shares in per cent: 79.1–80.7%."""
    low, high = interval
    return f"{100 * low:.1f}–{100 * high:.1f}%"
