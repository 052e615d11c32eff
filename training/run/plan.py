"""Tell what a recipe would do, without doing it."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from training.data import BatchTransform, Preprocessing, open_splits
from training.model.learner import create_model
from training.recipe.keys import Recipe
from training.step.distillation import load_teacher
from training.step.optimiser import create_optimizer, create_schedule

_SCHEDULE_POINTS = 9


class SchedulePoint(NamedTuple):
    """The learning rate at one moment of a run.

    Attributes:
        epoch: Epochs before it, with fractions.
        rate: The largest learning rate of any parameter.
    """

    epoch: float
    rate: float


@dataclass(frozen=True)
class Plan:
    """The dimensions of a run.

    Attributes:
        model: timm name.
        parameters: Trained numbers.
        classes: Names by label.
        training_images: Images per epoch.
        validation_images: Images held out.
        steps_per_epoch: Updates per epoch.
        steps: Updates of the run.
        schedule: The learning rate at points from the first update to the last; empty where the head is solved for.
    """

    model: str
    parameters: int
    classes: tuple[str, ...]
    training_images: int
    validation_images: int
    steps_per_epoch: int
    steps: int
    schedule: tuple[SchedulePoint, ...]


def plan(recipe: Recipe) -> Plan:
    """Check a recipe against its data and model, without decoding images or writing anything.

    Args:
        recipe: The whole of it, for a plan is of a whole run.

    Raises:
        RecipeError: The model, optimiser or schedule cannot be made.
        DataError: The data folder cannot be used, or the model takes other images.
        CheckpointError: The checkpoint to start from, or the teacher, cannot be used.
    """
    training, validation = open_splits(recipe.data, recipe.seed)
    model = create_model(recipe.model, training.classes)
    # Made to be refused, if at all, before a run: other channels, shifts larger than the images, a teacher of other
    # classes.
    preprocessing = Preprocessing.of_model(model)
    BatchTransform(recipe.augment, preprocessing, len(training.classes))
    load_teacher(recipe.distil, training.classes, preprocessing, torch.device("cpu"))
    per_epoch = -(-len(training) // recipe.batch_size)
    return Plan(
        model=recipe.model.name,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        classes=training.classes,
        training_images=len(training),
        validation_images=len(validation),
        steps_per_epoch=per_epoch,
        steps=recipe.epochs * per_epoch,
        schedule=() if recipe.method == "closed_form" else _rates(recipe, model, per_epoch),
    )


def _rates(recipe: Recipe, model: nn.Module, per_epoch: int) -> tuple[SchedulePoint, ...]:
    optimizer = create_optimizer(model, recipe.optimizer)
    schedule = create_schedule(optimizer, recipe.schedule, recipe.optimizer.lr, recipe.epochs, per_epoch)
    warmup = round(recipe.schedule.warmup_epochs * per_epoch)
    points = torch.linspace(0, recipe.epochs * per_epoch - 1, _SCHEDULE_POINTS).round().long().tolist()
    rates = []
    for step in sorted({*points, warmup}):
        schedule.step_update(step)
        rates.append(SchedulePoint(step / per_epoch, max(group["lr"] for group in optimizer.param_groups)))
    return tuple(rates)


def print_plan(found: Plan, recipe: Recipe, console: Console) -> None:
    """Show a plan as two tables, and say that nothing was run."""
    size = Table(show_header=False, box=None)
    names = ", ".join(found.classes[:10]) + (" …" if len(found.classes) > 10 else "")
    for name, value in (
        ("model", f"{found.model}, {found.parameters:,} parameters"),
        ("data", f"{recipe.data.root}"),
        ("classes", f"{len(found.classes)}: {names}"),
        ("images", f"{found.training_images:,} training, {found.validation_images:,} validation"),
        *_updates(found, recipe),
        ("output", f"{recipe.output}"),
    ):
        size.add_row(name, value)
    console.print(size)
    if recipe.method == "closed_form":
        console.print("one pass over the images, then the head in closed form: no epochs, optimiser or schedule")
        console.print("dry run: nothing was trained or written")
        return
    schedule = Table(title=f"learning rate, {recipe.schedule.kind}", title_justify="left", box=None)
    schedule.add_column("epoch", justify="right")
    schedule.add_column("rate", justify="right")
    schedule.add_column("")
    largest = max(rate for _, rate in found.schedule)
    for epoch, rate in found.schedule:
        schedule.add_row(f"{epoch:.2f}", f"{rate:.2e}", "█" * round(30 * rate / largest))
    console.print(schedule)
    console.print("dry run: nothing was trained or written")


def _updates(found: Plan, recipe: Recipe) -> list[tuple[str, str]]:
    """Describe the updates of a run; there are none where the head is solved for."""
    if recipe.method == "closed_form":
        return []
    return [
        ("updates", f"{found.steps:,} = {recipe.epochs} epochs of {found.steps_per_epoch:,}"),
        ("batch", f"{recipe.batch_size} images over all processes, in {recipe.accumulate} part(s)"),
        ("optimiser", f"{recipe.optimizer.name}, weight decay {recipe.optimizer.weight_decay:g}"),
        ("precision", recipe.precision),
    ]
