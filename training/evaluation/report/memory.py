"""Draw the health of an associative memory over the epochs of a run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from training.evaluation.report.curves import draw_line, finish_axis
from training.evaluation.report.figure import save_figure

_EFFECT = "memory/effect/"


@dataclass(frozen=True)
class Quantity:
    """One column of the memory's health, as it is shown.

    Attributes:
        name: Last part of the column's name.
        title: What it is called.
        meaning: What it says, for a reader of the report.
        logarithmic: True where its values span orders of magnitude.
    """

    name: str
    title: str
    meaning: str
    logarithmic: bool = False


QUANTITIES = (
    Quantity("effective_rank_priors", "effective rank of priors", "directions that the priors spread over"),
    Quantity(
        "effective_rank_patterns", "effective rank of patterns", "directions of what the priors store for tokens"
    ),
    Quantity("usage_perplexity", "priors in use", "perplexity, the exponential of the entropy, of the mean recall"),
    Quantity("patch_perplexity", "priors a patch recalls", "mean perplexity of a patch's recall"),
    Quantity(
        "retrieval_snr", "retrieval SNR", "strongest pattern over the rest of a recall, median", logarithmic=True
    ),
    Quantity("energy_drop", "energy drop", "mean energy that a patch loses by its retrieval"),
)

NORM_RATIO = Quantity(
    "norm_ratio", "retrieved / stream", "norm of what a patch retrieves over that of what it is added to, mean"
)

SCALE = Quantity("scale", "scale", "mean absolute factor of what is retrieved; 0 for a memory that sleeps")


def memory_blocks(row: Mapping[str, float]) -> dict[int, dict[str, float]]:
    """Group the columns ``memory/block{i}/{quantity}`` of a row by block and quantity; empty without a memory."""
    blocks: dict[int, dict[str, float]] = {}
    for key, value in row.items():
        if key.startswith("memory/block"):
            _, block, quantity = key.split("/", 2)
            blocks.setdefault(int(block.removeprefix("block")), {})[quantity] = value
    return dict(sorted(blocks.items()))


def memory_effects(row: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Group the columns ``memory/effect/{intervention}/{number}`` of a row by intervention; empty without a memory."""
    effects: dict[str, dict[str, float]] = {}
    for key, value in row.items():
        if key.startswith(_EFFECT) and key.count("/") == 3:
            intervention, number = key.removeprefix(_EFFECT).split("/")
            effects.setdefault(intervention, {})[number] = value
    return effects


def draw_memory_health(history: Sequence[Mapping[str, float]], path: Path, title: str = "") -> None:
    """Draw what every block's memory did over the epochs.

    Args:
        history: One row of metrics per epoch, with the columns of `training.evaluation.memory_health`.
        path: PNG file, replaced atomically.
        title: Of the figure.
    """
    blocks = sorted({block for row in history for block in memory_blocks(row)})
    figure = Figure(figsize=(13.5, 6.8), layout="constrained")
    for index, (axis, quantity) in enumerate(zip(figure.subplots(2, 3).flatten(), QUANTITIES, strict=True)):
        for block in blocks:
            draw_line(axis, history, f"memory/block{block}/{quantity.name}", f"block {block}")
        axis.set(title=quantity.title, xlabel="epoch")
        if quantity.logarithmic:
            axis.set_yscale("log")
            axis.yaxis.set_major_formatter(LogFormatter())
            axis.yaxis.set_minor_formatter(LogFormatter())
        else:
            axis.set_ylim(bottom=0)
        finish_axis(axis)
        # One legend says it for all; deep models would bury the lines under it.
        if index and axis.get_legend():
            axis.get_legend().remove()
    if title:
        figure.suptitle(title)
    save_figure(figure, path)
