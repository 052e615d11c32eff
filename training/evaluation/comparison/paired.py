"""Compare two checkpoints on the same images: the paired difference, its interval, and the images they differ on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor
from torch.nn import functional as F

from ait_lite.checkpoint import named_labels, read_config, read_temperature
from training.data import LabelledImages, Preprocessing, decode, open_evaluation
from training.data.sources.folder import Layout
from training.evaluation.comparison.table import write_table
from training.evaluation.evaluate import finite_logits, known_labels, refuse_multi_label
from training.evaluation.metrics import Interval
from training.storage.model_folder import load_model

ANOTHER = "another class"
_NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Difference:
    """How much more often the second of two models is right, on images that both answered.

    Attributes:
        images: How many.
        first: Share that the first is right on.
        second: Share that the second is right on.
        only_first: Images that only the first is right on.
        only_second: Images that only the second is right on.
        interval: 95 % confidence interval of `second` minus `first`, as if the images were drawn at random.
        p_value: Of an exact sign test (McNemar's): how likely so unequal a count of `only_first` and `only_second`
            would be, were neither model better.
    """

    images: int
    first: float
    second: float
    only_first: int
    only_second: int
    interval: Interval
    p_value: float

    @property
    def difference(self) -> float:
        """`second` minus `first`."""
        return self.second - self.first

    def to_json(self) -> dict[str, Any]:
        """Return the figures as values that JSON can hold."""
        return {
            "images": self.images,
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "interval": list(self.interval),
            "only_first": self.only_first,
            "only_second": self.only_second,
            "p_value": self.p_value,
        }


@dataclass(frozen=True)
class Comparison:
    """Two models side by side.

    Attributes:
        overall: On all images.
        per_class: On each class's.
        nll: Mean negative log-likelihood of each with its own temperature, in nats.
        classes: Names by label, and `ANOTHER` last.
        names: Of the images.
        labels: (N,) int64.
        answers: (N,) int64 of each model, in `classes`.
        confidence: (N,) of each model's answer.
    """

    overall: Difference
    per_class: dict[str, Difference]
    nll: tuple[float, float]
    classes: tuple[str, ...]
    names: tuple[str, ...] = field(repr=False)
    labels: Tensor = field(repr=False)
    answers: tuple[Tensor, Tensor] = field(repr=False)
    confidence: tuple[Tensor, Tensor] = field(repr=False)

    @property
    def differing(self) -> list[int]:
        """Positions of the images that one model is right on and the other is not, the surest mistakes first."""
        right = [answer == self.labels for answer in self.answers]
        where = (right[0] != right[1]).nonzero().flatten()
        mistake = torch.where(right[0], self.confidence[1], self.confidence[0])[where]
        return [int(position) for position in where[mistake.argsort(descending=True, stable=True)]]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as values that JSON can hold."""
        return {
            "overall": self.overall.to_json(),
            "per_class": {name: each.to_json() for name, each in self.per_class.items()},
            "nll": list(self.nll),
        }

    def write_differing(self, path: Path) -> None:
        """Write the images that the models differ on as CSV, the surest mistakes first.

        Raises:
            OSError: The file cannot be written.
        """
        rows = []
        for position in self.differing:
            row = [self.names[position], self.classes[self.labels[position]]]
            for answers, confidence in zip(self.answers, self.confidence, strict=True):
                row += [self.classes[answers[position]], f"{float(confidence[position]):.4f}"]
            rows.append(row)
        write_table(path, ("image", "label", "first", "first_confidence", "second", "second_confidence"), rows)


def compare(
    first: str | Path,
    second: str | Path,
    data_root: str | Path | None,
    *,
    source: str = "folder",
    layout: Layout = "auto",
    only: str | Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> Comparison:
    """Score two checkpoints on every image of a folder, each as `training.evaluation.evaluate.evaluate` does.

    Args:
        first: timm ``local-dir`` folder.
        second: Another.
        data_root: Class folders, or a folder with ``val/`` or ``test/`` in it, which is then used; or what
            `source` asks for.
        source: What `data_root` holds, as a recipe's ``data.source`` says.
        layout: As a recipe's ``data.layout``.
        only: A text file of image names to use, one per line.
        device: Where to compute; None takes an accelerator where there is one.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Raises:
        CheckpointError: A folder is no checkpoint, its weights are torn, or its answers are not finite.
        DataError: The data cannot be used, or holds classes that a model does not know.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    samples = open_evaluation(source, data_root, only, layout)
    one, other = (_probabilities(Path(each), samples, place, cache, console) for each in (first, second))
    return compare_probabilities(one, other, samples.labels, samples.classes, samples.names)


def compare_probabilities(
    first: Tensor, second: Tensor, labels: Tensor, classes: Sequence[str], names: Sequence[str]
) -> Comparison:
    """Compare the answers of two models.

    Args:
        first: (N, classes) probabilities of the first; one more column holds that of answers outside of `classes`.
        second: Of the second.
        labels: (N,) int64.
        classes: Names by label.
        names: Of the images.
    """
    both = (first, second)
    confidence, answers = zip(*(each.max(dim=1) for each in both), strict=True)
    right = [answer == labels for answer in answers]
    nll = [float(F.nll_loss(each.double().clamp_min(1e-300).log(), labels)) for each in both]
    per_class = {
        name: paired_difference(right[0][labels == label], right[1][labels == label])
        for label, name in enumerate(classes)
        if bool((labels == label).any())
    }
    return Comparison(
        overall=paired_difference(*right),
        per_class=per_class,
        nll=(nll[0], nll[1]),
        classes=(*classes, ANOTHER),
        names=tuple(names),
        labels=labels,
        answers=(answers[0], answers[1]),
        confidence=(confidence[0], confidence[1]),
    )


def _probabilities(
    checkpoint: Path, samples: LabelledImages, place: torch.device, cache: Path | None, console: Console | None
) -> Tensor:
    """Compute a checkpoint's probabilities of the images' classes, and of the likeliest other class it may know."""
    model = load_model(checkpoint).to(place)
    refuse_multi_label(checkpoint)
    known_labels(samples, model, str(checkpoint))  # refuses images of classes that the model does not know
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)
    logits = finite_logits(model, images, preprocessing, place, samples.names, checkpoint)
    # In float32 the probability of a right class that a model is sure it is not would be zero.
    probabilities = (logits.double() / (read_temperature(read_config(checkpoint)) or 1.0)).softmax(dim=1)
    known: Any = model
    names = named_labels(known.pretrained_cfg) or samples.classes
    columns = [names.index(name) for name in samples.classes]
    others = [column for column in range(len(names)) if column not in set(columns)]
    if not others:
        return probabilities[:, columns]
    # An answer with a class that no image is of is wrong, whichever it is.
    return torch.cat([probabilities[:, columns], probabilities[:, others].amax(dim=1, keepdim=True)], dim=1)


def paired_difference(first: Tensor, second: Tensor) -> Difference:
    """Compare the answers of two models to the same images.

    Args:
        first: (N,) bool, where the first is right.
        second: (N,) bool, where the second is.
    """
    count = len(first)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    return Difference(
        images=count,
        first=float(first.double().mean()),
        second=float(second.double().mean()),
        only_first=only_first,
        only_second=only_second,
        interval=_paired_interval(only_first, only_second, count),
        p_value=_sign_test(only_first, only_second),
    )


def _paired_interval(only_first: int, only_second: int, count: int) -> Interval:
    """Compute the interval of a difference of paired shares (Agresti and Min, 2005)."""
    total = count + 2
    b, c = only_second + 0.5, only_first + 0.5
    middle = (b - c) / total
    half = _NORMAL_95 * math.sqrt((b + c) - (b - c) ** 2 / total) / total
    return max(-1.0, middle - half), min(1.0, middle + half)


def _sign_test(only_first: int, only_second: int) -> float:
    """Compute the two-sided exact p-value of a binomial with share one half."""
    total, fewer = only_first + only_second, min(only_first, only_second)
    if not total:
        return 1.0
    tail = sum(math.comb(total, each) for each in range(fewer + 1)) / 2**total
    return min(1.0, 2.0 * float(tail))
