"""Compare two models of classes that do not exclude each other: how much better the second ranks the same images."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional as F

from ait_lite.checkpoint import CheckpointError, read_config
from training.errors import DataError
from training.evaluation.comparison.table import write_table
from training.evaluation.evaluate import TableAnswers, answer_table
from training.evaluation.metrics import Interval
from training.evaluation.multi_label import DEFAULT_THRESHOLD

RESAMPLES: Final = 1000
FEWEST_IMAGES: Final = 10
_AT_A_TIME: Final = 50


@dataclass(frozen=True)
class PrecisionDifference:
    """How much higher the average precision of the second of two models is.

    Attributes:
        images: Images that have the class; all of them, where it is the mean over classes.
        first: Average precision of the first.
        second: Of the second.
        interval: 95 % bootstrap interval of `second` minus `first`: both on the same images, drawn again and again.
            None of fewer than `FEWEST_IMAGES`, of which draws say too little.
    """

    images: int
    first: float
    second: float
    interval: Interval | None

    @property
    def difference(self) -> float:
        """`second` minus `first`."""
        return self.second - self.first


@dataclass(frozen=True)
class MultiLabelComparison:
    """Two models side by side.

    Attributes:
        overall: Mean average precision (mAP).
        per_class: Average precision of each class that occurs.
        loss: Mean binary cross-entropy of each, in nats.
        classes: Names by label.
        names: Of the images.
        targets: (N, classes) bool, the classes that each image has.
        found: (N, classes) bool, those that each model finds, by its own thresholds, or 0.5 where it has none.
    """

    overall: PrecisionDifference
    per_class: dict[str, PrecisionDifference]
    loss: tuple[float, float]
    classes: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    targets: Tensor = field(repr=False)
    found: tuple[Tensor, Tensor] = field(repr=False)

    @property
    def mistakes(self) -> tuple[Tensor, Tensor]:
        """Classes that each model finds where they are not, or misses, (N,)."""
        first, second = ((found != self.targets).sum(dim=1) for found in self.found)
        return first, second

    @property
    def differing(self) -> list[int]:
        """Positions of the images on which one model makes more mistakes, the greatest differences first."""
        first, second = self.mistakes
        apart = (first - second).abs()
        return [int(each) for each in apart.argsort(descending=True, stable=True)[: int((apart > 0).sum())]]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as values that JSON can hold."""
        return {
            "overall": _to_json(self.overall),
            "per_class": {name: _to_json(each) for name, each in self.per_class.items()},
            "loss": list(self.loss),
        }

    def write_differing(self, path: Path) -> None:
        """Write the images that the models differ on as CSV; several classes of one are joined by ``|``.

        Raises:
            OSError: The file cannot be written.
        """
        rows, mistakes_of_both = [], self.mistakes
        for position in self.differing:
            row = [self.names[position], self._named(self.targets[position])]
            for found, mistakes in zip(self.found, mistakes_of_both, strict=True):
                row += [self._named(found[position]), str(int(mistakes[position]))]
            rows.append(row)
        write_table(path, ("image", "labels", "first", "first_mistakes", "second", "second_mistakes"), rows)

    def _named(self, has: Tensor) -> str:
        return "|".join(name for name, one in zip(self.classes, has.tolist(), strict=True) if one)


def compare_multi_label(
    first: str | Path,
    second: str | Path,
    table: str | Path | None,
    *,
    only: str | Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> MultiLabelComparison:
    """Score two checkpoints on every image of a table, as `evaluate_multi_label` does each.

    Args:
        first: A checkpoint that was trained with ``data.multi_label=true``.
        second: Another, of the same classes.
        table: As for `training.evaluation.evaluate.evaluate_multi_label`, as are the others.
        only: A text file of image names to use, one per line.
        device: Where to compute.
        cache: Folder of decoded images.
        console: Where progress is shown.

    Raises:
        CheckpointError: A folder is no such checkpoint, or they tell different classes.
        DataError: The table cannot be used, or holds classes that a model does not know.
    """
    if table is None:
        raise DataError("name the table of images and their classes as DATA")
    one, other = (
        answer_table(each, table, only=only, device=device, cache=cache, console=console) for each in (first, second)
    )
    if set(one.classes) != set(other.classes):
        apart = ", ".join(sorted(set(one.classes) ^ set(other.classes))[:5])
        raise CheckpointError(f"{first} and {second} do not tell the same classes: only one of them tells {apart}")
    order = [other.classes.index(name) for name in one.classes]
    thresholds = [_thresholds(Path(each), one.classes) for each in (first, second)]
    try:
        return compare_answers(one, other.logits[:, order], thresholds, console=console)
    except ValueError as error:
        raise DataError(f"{table}: {error}") from None


def compare_answers(
    first: TableAnswers,
    second: Tensor,
    thresholds: Sequence[Sequence[float]],
    *,
    seed: int = 0,
    console: Console | None = None,
) -> MultiLabelComparison:
    """Compare the answers of two models.

    Args:
        first: What the first says, of which images and with which classes.
        second: (N, classes) logits of the second.
        thresholds: Of the probabilities from which each model finds a class, by label.
        seed: Of the images that are drawn.
        console: Where progress is shown.

    Raises:
        ValueError: No image has any class.
    """
    both = (first.logits.double(), second.double())
    wanted = first.targets > 0.5
    if not wanted.any():
        raise ValueError("no image has any class")
    rankings = [[_Ranking(each, present) for each, present in zip(logits.T, wanted.T, strict=True)] for logits in both]
    once = torch.ones(1, len(wanted))
    parts = [tuple(_precisions(each, once) for each in rankings)]
    generator = torch.Generator().manual_seed(seed)
    quiet = console is None or not console.is_terminal
    starts = range(0, RESAMPLES, _AT_A_TIME)
    for _ in track(starts, "drawing images again", console=console, transient=True, disable=quiet):
        drawn = torch.randint(len(wanted), (_AT_A_TIME, len(wanted)), generator=generator)
        counts = torch.zeros(drawn.shape).scatter_add_(1, drawn, torch.ones(drawn.shape))
        parts.append(tuple(_precisions(each, counts) for each in rankings))
    # Of all images as they are, then of those that were drawn: (1 + RESAMPLES, classes) each.
    precisions = [torch.cat(each) for each in zip(*parts, strict=True)]
    occurs = wanted.any(dim=0)
    loss = [float(F.binary_cross_entropy_with_logits(logits, wanted.double())) for logits in both]
    return MultiLabelComparison(
        overall=_difference(len(wanted), *(each[:, occurs].nanmean(dim=1) for each in precisions)),
        per_class={
            name: _difference(int(wanted[:, label].sum()), *(each[:, label] for each in precisions))
            for label, name in enumerate(first.classes)
            if occurs[label]
        },
        loss=(loss[0], loss[1]),
        classes=first.classes,
        names=tuple(first.names),
        targets=wanted,
        found=(
            both[0].sigmoid() >= torch.tensor(thresholds[0], dtype=torch.float64),
            both[1].sigmoid() >= torch.tensor(thresholds[1], dtype=torch.float64),
        ),
    )


def _thresholds(checkpoint: Path, classes: Sequence[str]) -> list[float]:
    given = read_config(checkpoint).get("thresholds") or {}
    return [given.get(name, DEFAULT_THRESHOLD) for name in classes]


class _Ranking:
    """The images in the order in which a model finds a class, for its average precision of any draw of them.

    Args:
        logits: (N,) of the class.
        present: (N,) bool, True for images that have it.
    """

    def __init__(self, logits: Tensor, present: Tensor) -> None:
        ranked, self._order = logits.sort(descending=True, stable=True)
        self._places = present[self._order].nonzero().flatten()  # of the images that have it, (P,)
        # Equal logits are found together: all take the precision at the last of them.
        self._last = (torch.searchsorted(-ranked, -ranked, right=True) - 1)[self._places]
        self._hits = torch.searchsorted(self._places, self._last, right=True) - 1

    def average_precision(self, counts: Tensor) -> Tensor:
        """Compute average precisions.

        Args:
            counts: (draws, N) float32, how often each image was drawn; whole numbers, exact in any sum of them.

        Returns:
            (draws,) float64; not a number where no image that has the class was drawn.
        """
        counts = counts[:, self._order]
        answers = counts.cumsum(dim=1)[:, self._last].double()  # (draws, P)
        own = counts[:, self._places].double()
        hits = own.cumsum(dim=1)
        precision = hits[:, self._hits] / answers.clamp_min(1.0)
        return (precision * own).sum(dim=1) / own.sum(dim=1)


def _precisions(rankings: Sequence[_Ranking], counts: Tensor) -> Tensor:
    """Compute average precisions of draws (draws, N), shape (draws, classes)."""
    return torch.stack([each.average_precision(counts) for each in rankings], dim=1)


def _difference(images: int, first: Tensor, second: Tensor) -> PrecisionDifference:
    """Compare precisions (1 + resamples,), of all images as they are and of those that were drawn."""
    interval = None
    if images >= FEWEST_IMAGES:
        ends = torch.tensor([0.025, 0.975], dtype=torch.float64)
        low, high = (second[1:] - first[1:]).nanquantile(ends).tolist()
        interval = (low, high)
    return PrecisionDifference(images, float(first[0]), float(second[0]), interval)


def _to_json(each: PrecisionDifference) -> dict[str, Any]:
    interval = None if each.interval is None else list(each.interval)
    return asdict(each) | {"difference": each.difference, "interval": interval}
