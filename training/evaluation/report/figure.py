"""What the pictures of a report share."""

import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_DPI = 120
# Beyond these many classes, pictures and tables show the extremes only.
READABLE_CLASSES = 30


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, atomically; its folder is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    FigureCanvasAgg(figure).print_figure(temporary, format="png", dpi=_DPI)
    os.replace(temporary, path)


def label_text(name: str, length: int = 24) -> str:
    """A class name as matplotlib shows it: at most `length` characters, and no dollar sign opens a formula."""
    name = " ".join(name.split())
    shortened = name if len(name) <= length else f"{name[: length - 1]}…"
    return shortened.replace("$", r"\$")
