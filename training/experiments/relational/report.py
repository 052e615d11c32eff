"""Checks, a plot and a table of trials on Sort-of-CLEVR."""

from collections.abc import Mapping, Sequence
from itertools import islice
from statistics import mean, stdev
from typing import Any, Final

from training.data.sources.sort_of_clevr import KINDS, TEST_IMAGES
from training.experiments import style
from training.experiments.blocks.trial import OF_BLOCKS
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
    # Which questions were answered rightly is told in shares, and in differences.
    told = [{key: value for key, value in result.items() if key != "right"} for result in results]
    compared = differences(results)
    figures = {
        "trials": told,
        "differences": compared,
        "published": {name: dict(found) for name, found in theirs.items()},
    }
    text = table(heading, kinds, results, theirs) + _differences_table(kinds, compared)
    return Outcome(f"{title}, {TEST_IMAGES} test images", checks, figure, figures, text)


def differences(results: Sequence[_Result]) -> list[dict[str, Any]]:
    """Compare models on the same questions: the first of every seed with the others, and each with itself disturbed.

    Args:
        results: As `run_trial` returns them; those that do not tell which questions were answered rightly are passed
            over.

    Returns:
        Of each pair its names, its seed, and by kind of question the mean difference in shares, and half of its 95 %
        interval over the test images.
    """
    found, firsts = [], dict[int, _Result]()
    for result in results:
        if "right" not in result:
            continue
        label, seed = result["settings"]["label"], result["settings"]["seed"]
        whole = result["right"]["on"]
        first = firsts.setdefault(seed, result)
        if first is not result:
            found.append(_difference(first["settings"]["label"], label, seed, first["right"]["on"], whole))
        for change, right in result["right"].items():
            if change != "on":
                disturbed = f"{label}, {OF_BLOCKS[change].replace('_', ' ')}"
                found.append(_difference(label, disturbed, seed, whole, right))
    return found


def _difference(
    model: str, other: str, seed: int, ours: Mapping[str, str], theirs: Mapping[str, str]
) -> dict[str, Any]:
    by_kind = {}
    for kind, digits in ours.items():
        each = [int(a) - int(b) for a, b in zip(digits, theirs[kind], strict=True)]
        count = len(each) // TEST_IMAGES  # questions about an image, which are not independent
        images = [mean(each[start : start + count]) for start in range(0, len(each), count)]
        by_kind[kind] = {"mean": mean(images), "interval": 1.96 * stdev(images) / len(images) ** 0.5}
    return {"model": model, "other": other, "seed": seed, "by_kind": by_kind}


def _differences_table(kinds: Sequence[str], compared: Sequence[Mapping[str, Any]]) -> str:
    if not compared:
        return ""
    lines = [
        "",
        f"Differences on the same questions (points, with 95 % intervals over the {TEST_IMAGES} test images):",
        "",
        "| model | less | seed | " + " | ".join(kinds) + " |",
        "|---|---|---|" + "---|" * len(kinds),
    ]
    for each in compared:
        told = [each["by_kind"][kind] for kind in kinds]
        cells = [f"{100 * kind['mean']:+.1f} ± {100 * kind['interval']:.1f}" for kind in told]
        lines.append(f"| {each['model']} | {each['other']} | {each['seed']} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


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
