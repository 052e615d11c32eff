"""Find a learning rate: raise it over one short run until the loss explodes (Smith, arXiv 1506.01186)."""

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator
from matplotlib.figure import Figure
from rich.console import Console

from training.data import dead_workers_named
from training.errors import OutputError, RecipeError
from training.evaluation.report.figure import save_figure
from training.model.freezing import set_training
from training.recipe.keys import Recipe
from training.run.accelerator import create_accelerator
from training.run.interruption import Interruption
from training.run.preparation import RunParts, prepare

_LOWEST, _HIGHEST, _STEPS = 1e-7, 10.0, 100
_WINDOW = 5  # losses of single batches are noisy: each is averaged with its neighbours
_EXPLODED = 4.0  # times the lowest loss
_BELOW_LOWEST = 10.0  # where the loss is lowest, the rate is already about to be too large


@dataclass(frozen=True)
class RateSweep:
    """The loss as the learning rate grew.

    Attributes:
        rates: Of each update, ascending.
        losses: Mean loss of each update's images, before it.
        smooth: `losses`, each averaged with its neighbours.
        exploded: True if the sweep ended because the loss exploded, False if it reached the largest rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smooth: tuple[float, ...]
    exploded: bool

    @property
    def suggestion(self) -> float:
        """A tenth of the rate with the lowest loss, to two digits."""
        lowest = min(range(len(self.smooth)), key=self.smooth.__getitem__)
        return float(f"{self.rates[lowest] / _BELOW_LOWEST:.1e}")


def sweep_rates(recipe: Recipe, console: Console | None = None) -> RateSweep:
    """Train for up to 100 updates whose learning rate grows from 1e-7 to 10, and forget the model.

    The model starts as the recipe's run would, head and frozen layers included. Nothing is written but decoded images
    and features into their cache; a run in the output folder stays as it is.

    Args:
        recipe: What to train; its schedule and `optimizer.lr` are not used.
        console: Where progress goes; None is the standard error stream.

    Raises:
        RecipeError: The run has no learning rate, its loss is not finite from the start, or its parts cannot be made.
        DataError: The data folder cannot be used.
        CheckpointError: The checkpoint to start from cannot be used.
        TrainingInterrupted: A signal arrived.
    """
    if recipe.method == "closed_form":
        raise RecipeError("method=closed_form has no learning rate to find")
    accelerator = create_accelerator(recipe.device, recipe.precision)
    console = console or Console(stderr=True)
    if not accelerator.is_main_process:
        console = Console(quiet=True)
    with Interruption() as interruption, interruption.at_once("stopped; nothing was written"), dead_workers_named():
        parts = prepare(recipe, accelerator, console)
        set_training(parts.model, recipe.freeze_batch_norm)
        rates, losses = [], []
        for rate, loss in _updates(parts, accelerator):
            if not math.isfinite(loss):
                break
            rates.append(rate)
            losses.append(loss)
            if _mean(losses[-_WINDOW:]) > _EXPLODED * min(smoothed(losses)):
                break
    if not losses:
        raise RecipeError("the loss is not finite from the start; train with precision=fp32")
    return RateSweep(tuple(rates), tuple(losses), smoothed(losses), exploded=len(losses) < _STEPS)


def _updates(parts: RunParts, accelerator: Accelerator) -> Iterator[tuple[float, float]]:
    """Take the updates one by one, over the images as often as it takes; yield the rate and the loss of each."""
    step = epoch = 0
    while True:
        order = parts.images.order(epoch)
        with closing(parts.images.batches(order, epoch, parts.step.loaded_rows, 0)) as batches:
            for chosen, images in zip(order, batches, strict=True):
                rate = _LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1))
                parts.schedule.update_groups(rate)
                sums = parts.step(chosen, images, step).sums
                yield rate, float(accelerator.reduce(sums, "sum")[0]) / len(chosen)
                step += 1
                if step == _STEPS:
                    return
        epoch += 1


def smoothed(losses: Sequence[float]) -> tuple[float, ...]:
    """Average each loss with its neighbours; at both ends there are fewer."""
    half = _WINDOW // 2
    return tuple(_mean(losses[max(0, index - half) : index + half + 1]) for index in range(len(losses)))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def sweep_path(recipe: Recipe) -> Path:
    """Return where the curve goes: beside the output folder, which a run may find empty or hold."""
    return recipe.output.with_name(f"{recipe.output.name}-lr.png")


def draw_sweep(sweep: RateSweep, path: Path) -> None:
    """Draw the loss over the learning rate, with the suggestion.

    Args:
        sweep: What to draw.
        path: PNG file, replaced atomically; its folder is created.

    Raises:
        OutputError: The file cannot be written.
    """
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.plot(sweep.rates, sweep.losses, ".", alpha=0.3, label="each batch")
    axis.plot(sweep.rates, sweep.smooth, label=f"mean of {_WINDOW}")
    axis.axvline(sweep.suggestion, color="black", linestyle="--", label=f"suggested: {sweep.suggestion:.1e}")
    axis.set(xscale="log", xlabel="learning rate", ylabel="loss")
    low = min(sweep.smooth)
    axis.set_ylim(0.5 * low, max(1.1 * sweep.smooth[0], 2 * low))
    axis.grid(alpha=0.3)
    axis.legend(fontsize="small")
    try:
        save_figure(figure, path)
    except OSError as error:
        raise OutputError(f"cannot write {path} ({error.strerror}); choose another output=FOLDER") from error
