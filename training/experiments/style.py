"""One style for the plots of all experiments: readable in print, and without telling red from green."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from statistics import fmean
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

# Okabe and Ito's colours, darkest first, so that the order also holds in grey.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", ":")
_NEXT_PAIR = 3  # markers further for the same colour
THEORY: dict[str, Any] = {"color": "#666666", "linestyle": "--", "linewidth": 1.0}
HEATMAP = "cividis"


def new_figure(columns: int = 1, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure of equal panels, row by row."""
    figure = Figure(figsize=(4.6 * columns, 3.5 * rows), layout="constrained")
    panels = [figure.add_subplot(rows, columns, index + 1) for index in range(rows * columns)]
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(True, color="#dddddd", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure, panels


def series() -> Iterator[dict[str, Any]]:
    """Yield a colour, marker and line for one series after another."""
    for colour, marker, line in zip(cycle(COLOURS), cycle(MARKERS), cycle(LINES), strict=False):
        yield {"color": colour, "marker": marker, "linestyle": line}


def points() -> Iterator[dict[str, Any]]:
    """Yield a colour and marker for one point after another, hollow once all were used, then in other pairs."""
    for number, colour in enumerate(cycle(COLOURS)):
        turn = number // len(MARKERS)
        marker = MARKERS[(number + turn // 2 * _NEXT_PAIR) % len(MARKERS)]
        yield {
            "color": colour,
            "marker": marker,
            "linestyle": "",
            "markerfacecolor": "white" if turn % 2 else colour,
        }


def bars(axes: Axes, groups: list[str], heights: dict[str, list[float]], *, legend: bool = True) -> None:
    """Draw groups of bars, one bar per series in each group, and above them what each stands for."""
    hatches = ("", "//", "..", "\\\\", "xx", "--", "oo")
    width = 0.8 / len(heights)
    for index, (name, values) in enumerate(heights.items()):
        positions = [group + (index - (len(heights) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(
            positions, values, width, label=name, color=COLOURS[1:][index % 6], hatch=hatches[index], edgecolor="white"
        )
    axes.set_xticks(range(len(groups)), groups)
    axes.grid(False, axis="x")
    if legend:
        axes.legend(fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def seeds(axes: Axes, rows: Mapping[str, Sequence[float]], *, reference: str | None = None) -> None:
    """Draw a row for each name, the first on top: a hollow point for each seed, a filled one for their mean.

    Points, since the axis need not begin at zero, where the length of a bar would mean nothing.

    Args:
        axes: The panel.
        rows: Name -> the values of its seeds, at least one.
        reference: The name that the others are compared with; a line marks its mean.
    """
    if reference is not None and reference in rows:
        axes.axvline(fmean(rows[reference]), **THEORY)
    for place, (name, values) in enumerate(rows.items()):
        colour = COLOURS[name != reference]
        if len(values) > 1:
            axes.plot(
                values, [place] * len(values), "o", color=colour, markersize=4, markerfacecolor="white", zorder=2
            )
        axes.plot(fmean(values), place, "o", color=colour, markersize=7, alpha=0.8)
    axes.set_yticks(range(len(rows)), list(rows))
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.grid(False, axis="y")


def legend_below(figure: Figure, panels: list[Axes], columns: int = 6) -> None:
    """Say below all panels what is drawn in any of them, where it would hide points within one."""
    handles = {
        label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns, fontsize=7)


def label_ticks(axes: Axes, values: list[int]) -> None:
    """Label these values along a logarithmic horizontal axis, and no others."""
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.xaxis.set_minor_locator(NullLocator())


def plain_numbers(axes: Axes) -> None:
    """Label a logarithmic horizontal axis with 1, 2, 5 and so on in place of powers of ten."""
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
