"""How fast a recipe trains, as a share of what its model's updates alone would reach."""

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

from training.data import open_splits
from training.recipe.keys import Recipe
from training.run.accelerator import create_accelerator
from training.run.images import RunImages
from training.run.interruption import Interruption
from training.run.trainer import Trainer

Caching = Literal["none", "ram", "device"]
CACHINGS: tuple[Caching, ...] = ("device", "ram", "none")
# Workers decode ahead while another way is timed; what they have ready is used up before the clock starts.
_BATCHES_AHEAD = 2

_Step = Callable[[], None]


@dataclass(frozen=True)
class Throughput:
    """One way of feeding a model.

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
    """All ways of one run.

    Attributes:
        model: timm name.
        device: Where it ran.
        threads: CPU threads.
        batch_size: Images an update.
        precision: Number format.
        workers: Processes that decode and augment, as the recipe asks for; at most one a core is used.
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
        """Everything as JSON-ready values."""
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
        seconds: Time a way, spread over the rounds.
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
    accelerator = create_accelerator(recipe)
    with Interruption() as interruption, ExitStack() as opened:
        trainer = Trainer(recipe, accelerator, console, interruption)
        trainer.model.train()
        steps: dict[str, _Step] = {"synthetic": _synthetic(trainer)}
        for caching in cachings:
            images = _images(trainer, recipe, caching, console)
            batches = opened.enter_context(closing(_batches(trainer, images)))
            steps[caching] = _visit(trainer, batches)
        rates: dict[str, list[float]] = {feed: [] for feed in steps}
        ahead = _BATCHES_AHEAD * max(recipe.data.workers, 1)
        for number in range(rounds):
            for feed, step in steps.items():
                on_case(f"round {number + 1} of {rounds}: {feed}")
                warm = 1 if feed == "synthetic" else ahead
                rates[feed].append(_rate(step, warm, seconds / rounds, trainer.device) * recipe.batch_size)
    alone = rates["synthetic"]
    shares = {feed: [rate / base for rate, base in zip(rates[feed], alone, strict=True)] for feed in rates}
    return TrainingBenchmark(
        recipe.model.name,
        str(trainer.device),
        torch.get_num_threads(),
        recipe.batch_size,
        recipe.precision,
        recipe.data.workers,
        [Throughput(feed, median(rates[feed]), median(shares[feed])) for feed in rates],
    )


def _synthetic(trainer: Trainer) -> _Step:
    """Updates with one batch of random images that lies ready."""
    size = trainer.recipe.batch_size
    inputs = torch.randn(size, *trainer.preprocessing.input_size, device=trainer.device)
    targets = torch.arange(size, device=trainer.device) % len(trainer.classes)

    def step() -> None:
        trainer.update(inputs, targets, size, trainer.position.step)
        trainer.position.step += 1

    return step


def _images(trainer: Trainer, recipe: Recipe, caching: Caching, console: Console) -> RunImages:
    data = recipe.data.model_copy(update={"caching": caching})
    training, validation = open_splits(data, recipe.seed)
    other = recipe.model_copy(update={"data": data})
    return RunImages(other, training, validation, trainer.preprocessing, trainer.device, console)


def _batches(trainer: Trainer, images: RunImages) -> Generator[tuple[Tensor, Tensor], None, None]:
    """Epoch after epoch: positions and bytes of full batches, without end."""
    for epoch in count():
        order = [chosen for chosen in images.order(epoch) if len(chosen) == trainer.recipe.batch_size]
        with closing(images.batches(order, epoch, trainer.loaded_rows, 0)) as batches:
            yield from zip(order, batches, strict=True)


def _visit(trainer: Trainer, batches: Iterator[tuple[Tensor, Tensor]]) -> _Step:
    def step() -> None:
        trainer.visit(*next(batches))
        trainer.position.step += 1

    return step


def _rate(step: _Step, warm: int, seconds: float, device: torch.device) -> float:
    """Steps a second."""
    for _ in range(warm):
        step()
    _wait(device)
    start, done = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
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
