"""Measure how fast a recipe trains, as a share of what its model's updates alone would reach."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import count
from statistics import median
from typing import Any, Literal

import torch
from rich.console import Console
from torch import Tensor

from training.data import Preprocessing, open_splits
from training.recipe.keys import Recipe
from training.run.accelerator import create_accelerator
from training.run.images import RunImages
from training.run.preparation import RunParts, prepare

Caching = Literal["none", "ram", "device"]
CACHINGS: tuple[Caching, ...] = ("device", "ram", "none")
# Workers decode ahead while another way is timed; what they have ready is used up before the clock starts.
_BATCHES_AHEAD = 2

_Step = Callable[[], None]


@dataclass(frozen=True)
class Throughput:
    """The rate of one way of feeding a model.

    Attributes:
        feed: ``synthetic``, the same ready batch for every update; or a recipe's ``data.caching``.
        images_per_second: Median over rounds.
        share: Of the synthetic rate in the same round, median over rounds.
    """

    feed: str
    images_per_second: float
    share: float


@dataclass(frozen=True)
class TrainingBenchmark:
    """The rates of all ways of feeding a model.

    Attributes:
        model: timm name.
        device: Where it ran.
        threads: CPU threads.
        batch_size: Images per update.
        precision: Number format.
        workers: Processes that decode and augment, as the recipe asks for; at most one per core is used.
        throughputs: The rates.
    """

    model: str
    device: str
    threads: int
    batch_size: int
    precision: str
    workers: int
    throughputs: list[Throughput]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return asdict(self)


def benchmark_training(
    recipe: Recipe,
    cachings: Sequence[Caching] = CACHINGS,
    seconds: float = 20.0,
    rounds: int = 5,
    console: Console | None = None,
    on_case: Callable[[str], None] = lambda label: None,
) -> TrainingBenchmark:
    """Time a recipe's training, updates and all that leads to them, against updates of one ready batch.

    The ways take turns, for the clock of a shared machine wanders. Nothing is written but the cache of decoded images.

    Args:
        recipe: What is trained; ``data.caching`` is overruled.
        cachings: Ways to keep the images.
        seconds: Time per way, spread over the rounds.
        rounds: Turns.
        console: Where decoding shows its progress; None is the standard error stream.
        on_case: Called with a label before each turn, for progress.

    Returns:
        The synthetic rate first.

    Raises:
        DataError: The data folder cannot be used.
        RecipeError: The model cannot be made, or a way does not go with the augmentation.
    """
    console = console or Console(stderr=True)
    accelerator = create_accelerator(recipe.device, recipe.precision)
    # Updates are counted on over all ways, for their chance is a function of their number.
    numbers = count()
    with ExitStack() as opened:
        parts = prepare(recipe, accelerator, console)
        device = accelerator.device
        parts.model.train()
        steps: dict[str, _Step] = {"synthetic": _synthetic(parts, recipe.batch_size, device, numbers)}
        for caching in cachings:
            images = _images(recipe, caching, parts.preprocessing, device, console)
            batches = opened.enter_context(closing(_batches(parts, images, recipe.batch_size)))
            steps[caching] = _visit(parts, batches, numbers)
        rates: dict[str, list[float]] = {feed: [] for feed in steps}
        ahead = _BATCHES_AHEAD * max(recipe.data.workers, 1)
        for number in range(rounds):
            for feed, step in steps.items():
                on_case(f"round {number + 1} of {rounds}: {feed}")
                warm = 1 if feed == "synthetic" else ahead
                rates[feed].append(_rate(step, warm, seconds / rounds, device) * recipe.batch_size)
    alone = rates["synthetic"]
    shares = {feed: [rate / base for rate, base in zip(rates[feed], alone, strict=True)] for feed in rates}
    return TrainingBenchmark(
        recipe.model.name,
        str(device),
        torch.get_num_threads(),
        recipe.batch_size,
        recipe.precision,
        recipe.data.workers,
        [Throughput(feed, median(rates[feed]), median(shares[feed])) for feed in rates],
    )


def _synthetic(parts: RunParts, batch_size: int, device: torch.device, numbers: Iterator[int]) -> _Step:
    """Make a step that updates with one batch of random images that lies ready."""
    inputs = torch.randn(batch_size, *parts.preprocessing.input_size, device=device)
    targets = torch.arange(batch_size, device=device) % len(parts.images.training.classes)

    def step() -> None:
        parts.update(inputs, targets, batch_size, next(numbers))

    return step


def _images(
    recipe: Recipe, caching: Caching, preprocessing: Preprocessing, device: torch.device, console: Console
) -> RunImages:
    data = recipe.data.model_copy(update={"caching": caching})
    training, validation = open_splits(data, recipe.seed)
    other = recipe.model_copy(update={"data": data})
    return RunImages(other, training, validation, preprocessing, device, console)


def _batches(parts: RunParts, images: RunImages, batch_size: int) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Epoch after epoch: positions and bytes of full batches, without end."""
    for epoch in count():
        order = [chosen for chosen in images.order(epoch) if len(chosen) == batch_size]
        with closing(images.batches(order, epoch, parts.step.loaded_rows, 0)) as batches:
            yield from zip(order, batches, strict=True)


def _visit(parts: RunParts, batches: Iterator[tuple[Tensor, Tensor]], numbers: Iterator[int]) -> _Step:
    def step() -> None:
        chosen, images = next(batches)
        parts.step(chosen, images, next(numbers))

    return step


def _rate(step: _Step, warm: int, seconds: float, device: torch.device) -> float:
    """Count steps per second, over some time and at least one step."""
    for _ in range(warm):
        step()
    _wait(device)
    start, done = time.perf_counter(), 0
    # Once at least: another process may have the processor for all of the time.
    while not done or time.perf_counter() - start < seconds:
        step()
        done += 1
        # An accelerator would let the loop run ahead of it without end.
        if done % 8 == 0:
            _wait(device)
    _wait(device)
    return done / (time.perf_counter() - start)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
