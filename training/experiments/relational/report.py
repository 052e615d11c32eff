"""Checks, a plot and a table of trials on Sort-of-CLEVR."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from training.data.sources.sort_of_clevr import KINDS
from training.experiments import style
from training.experiments.outcome import Check, Outcome
from training.experiments.tables.published import PARAMETERS

# Shares of right answers that guessing the most frequent answer cannot reach.
CHANCE: Final = {"non-relational": 0.55, "binary": 0.5}

_Result = dict[str, Any]


def report(title: str, heading: str, results: Sequence[_Result], theirs: Mapping[str, Mapping[str, float]]) -> Outcome:
    """Compare trials that were asked the same kinds of questions.

    Args:
        title: What was asked, for the plot.
        heading: How they were trained, for the table.
        results: As `run_trial` returns them.
        theirs: Published figures, per cent by kind of question, by what the table calls them.
    """
    kinds = [kind for kind in KINDS if kind in results[0]["accuracy"]]
    checks = [
        Check(f"{result['settings']['label']}, {kind}", result["accuracy"][kind], low, 1.0)
        for result in results
        for kind, low in CHANCE.items()
        if kind in kinds
    ]
    figure, (left, right) = style.new_figure(columns=2)
    first = min(result["settings"]["seed"] for result in results)
    shown = [result for result in results if result["settings"]["seed"] == first]
    heights = {result["settings"]["label"]: [100 * result["accuracy"][kind] for kind in kinds] for result in shown}
    style.bars(left, kinds, heights, legend=False)
    left.set(ylabel="right answers, %")
    # The first colour is not among those of bars.
    for look, result in zip(islice(style.series(), 1, None), shown, strict=False):
        epochs = [row["epoch"] for row in result["history"]]
        right.plot(epochs, [100 * row["binary"] for row in result["history"]], **look)
    right.set(xlabel="epoch", ylabel="right answers, binary, %")
    # One legend of both: the colours are the same.
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", fontsize=8, ncols=3)
    # Which questions were answered rightly is told in shares.
    told = [{key: value for key, value in result.items() if key != "right"} for result in results]
    figures = {"trials": told, "published": {name: dict(found) for name, found in theirs.items()}}
    return Outcome(f"{title}, 200 test images", checks, figure, figures, table(heading, kinds, results, theirs))


def table(
    heading: str, kinds: Sequence[str], results: Sequence[_Result], theirs: Mapping[str, Mapping[str, float]]
) -> str:
    """Write a Markdown table; arguments as those of `report`, and the kinds of questions to show."""
    lines = [
        f"{heading} (per cent right):",
        "",
        "| model | parameters, M | multiply-adds, M | epochs | seed | " + " | ".join(kinds) + " |",
        "|---|---|---|---|---|" + "---|" * len(kinds),
    ]
    for result in results:
        settings = result["settings"]
        cells = [
            settings["label"],
            f"{result['parameters'] / 1e6:.2f}",
            f"{result['multiply_adds'] / 1e6:.1f}",
            f"{settings['epochs']}",
            f"{settings['seed']}",
            *(f"{100 * result['accuracy'][kind]:.1f}" for kind in kinds),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    for name, accuracy in theirs.items():
        cells = [f"{accuracy[kind]:g}" if kind in accuracy else "–" for kind in kinds]
        size = PARAMETERS.get(name.removesuffix(" (theirs)"))
        lines.append(f"| {name} | {f'{size:.1f}' if size else '–'} | – | – | – | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
