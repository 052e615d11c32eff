"""How well a memory of classes reads labels, beside a linear probe, and how well it knows what it was not taught."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

import numpy as np
import torch

from ait.classifier import load
from ait_lite.class_memory import READOUTS, ClassMemory
from ait_lite.wording import counted
from training.benchmark.linear_probe import linear_probe
from training.data import LabelledImages
from training.data.sources.folder import Layout, scan_splits
from training.errors import DataError
from training.teaching.images import embed_files
from training.teaching.readouts import read_labels
from training.teaching.unfamiliarity import auroc, max_softmax

PROBE: Final = "linear probe"
FIGURES: Final = (
    "taught called unknown",
    "held out called unknown",
    "AUROC, p-value",
    "AUROC, max softmax",
    "AUROC, difference",
)
_HELD_OUT: Final = 5  # one class in so many is held out
_FEWEST_TAUGHT: Final = 2


@dataclass(frozen=True)
class MemoryAccuracy:
    """Share of test images that are labelled right, with some number of examples per class.

    The probe is logistic regression on the same features, its penalty chosen on a part of them.

    Attributes:
        per_class: Examples per class.
        images: Test images, the same in all draws.
        draws: Number of times that examples were drawn.
        accuracy: By readout, and of the probe; means over the draws.
        deviation: Standard deviations over the draws; None of one draw.
    """

    per_class: int
    images: int
    draws: int
    accuracy: dict[str, float]
    deviation: dict[str, float] | None


@dataclass(frozen=True)
class UnknownDetection:
    """What a memory calls unknown, of classes that it was taught and of others.

    Attributes:
        per_class: Examples per class that is taught.
        held_out: Number of classes that are not, other ones in every draw.
        level: The memory's `unknown_level`: the share of images of taught classes that it may call unknown.
        draws: Number of draws of classes and examples.
        images: Images of classes that were held out, all draws together.
        figures: Means over the draws, by the names that `FIGURES` has. An AUROC is the probability that an image of a
            class that was held out is less familiar than one of a taught class, by the memory's p-value or by the
            largest probability of the probe.
        deviation: Standard deviations over the draws; None of one draw.
    """

    per_class: int
    held_out: int
    level: float
    draws: int
    images: int
    figures: dict[str, float]
    deviation: dict[str, float] | None


@dataclass(frozen=True)
class Draw:
    """Examples and queries of one draw, and their labels.

    Attributes:
        examples: Feature vectors, shape (classes, examples of each, F), in the order in which they were drawn.
        queries: Feature vectors, shape (b, F).
        labels: Of the queries, shape (b,), int64.
    """

    examples: np.ndarray
    queries: np.ndarray
    labels: np.ndarray

    def of(self, classes: Sequence[int]) -> "Draw":
        """Take some classes alone; they are numbered anew."""
        code = np.full(len(self.examples), -1)
        code[list(classes)] = np.arange(len(classes))
        asked = code[self.labels] >= 0
        return Draw(self.examples[list(classes)], self.queries[asked], code[self.labels[asked]])

    def teach(self, count: int, unknown_level: float = 0.05) -> ClassMemory:
        """Teach a memory the first `count` examples of every class; labels are numbers."""
        classes, _, width = self.examples.shape
        memory = ClassMemory(width, unknown_level=unknown_level)
        memory.write(
            [str(number) for number in range(classes * count)],
            self.examples[:, :count].reshape(-1, width),
            [str(label) for label in range(classes) for _ in range(count)],
        )
        return memory

    def probe(self, count: int, queries: np.ndarray | None = None) -> torch.Tensor:
        """Fit a linear probe to the same examples; logits (b, classes) of queries (b, F), by default the draw's."""
        queries = self.queries if queries is None else queries
        classes, _, width = self.examples.shape
        labels = torch.arange(classes).repeat_interleave(count)
        examples = torch.from_numpy(self.examples[:, :count].reshape(-1, width)).float()
        return linear_probe(examples, labels, torch.from_numpy(queries).float())


def draw_features(
    checkpoint: str | Path,
    data: str | Path,
    per_class: int = 100,
    *,
    draws: int = 5,
    test_images: int = 1000,
    seed: int = 0,
    layout: Layout = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[Draw]:
    """Draw examples and compute a model's features of them and of test images, each image once.

    Args:
        checkpoint: A checkpoint folder, or name of a bundled model.
        data: A folder with ``train/``, and ``val/`` or ``test/``.
        per_class: Examples per class in a draw.
        draws: Number of draws.
        test_images: Test images at most, spread evenly over the classes.
        seed: Decides which training images are the examples.
        layout: What the folders in `data` are, as a recipe's ``data.layout``.
        progress: Told how many images have been run through the model.

    Raises:
        DataError: The folder does not hold both, or a class has too few images.
        FileNotFoundError: There is no such model.
    """
    train, test = scan_splits(data, layout)
    if test is None:
        raise DataError(f"{data} holds no val or test folder to measure on")
    random = np.random.default_rng(seed)
    chosen = np.stack([_choose(train, per_class, random) for _ in range(draws)])  # (draws, classes, per_class)
    used, places = np.unique(chosen, return_inverse=True)
    spread = np.unique(np.linspace(0, len(test) - 1, min(test_images, len(test))).astype(int))
    examples, asked = train.select(used.tolist()), test.select(spread.tolist())
    paths = [samples.file(index) for samples in (examples, asked) for index in range(len(samples))]
    features = np.stack([each.features for each in embed_files(load(checkpoint), paths, progress=progress)])
    known, queries = features[: len(used)], features[len(used) :]
    return [Draw(known[rows], queries, asked.labels.numpy()) for rows in places.reshape(chosen.shape)]


def measure_accuracy(draws: Sequence[Draw], counts: Sequence[int] = (1, 5, 20, 100)) -> list[MemoryAccuracy]:
    """Measure the readouts of a memory and a linear probe, on the same features.

    Args:
        draws: Examples and queries; at least one.
        counts: Numbers of examples per class, at most what was drawn.
    """
    results = []
    for count in counts:
        found: dict[str, list[float]] = {name: [] for name in (*READOUTS, PROBE)}
        for draw in draws:
            memory = draw.teach(count)
            for readout in READOUTS:
                said = [int(label) for label in read_labels(memory, draw.queries, readout)]
                found[readout].append(np.mean(said == draw.labels).item())
            probed = draw.probe(count).argmax(1).numpy()
            found[PROBE].append(np.mean(probed == draw.labels).item())
        results.append(MemoryAccuracy(count, len(draws[0].labels), len(draws), *_summary(found)))
    return results


def measure_unknown(
    draws: Sequence[Draw], per_class: int, *, level: float = 0.05, seed: int = 0
) -> UnknownDetection | None:
    """Measure what a memory that was not taught a fifth of the classes says of images of these, and of the others.

    Args:
        draws: Examples and queries; at least one.
        per_class: Examples per class that is taught, at most what was drawn.
        level: Share of the images of taught classes that the memory may call unknown.
        seed: Decides the classes.

    Returns:
        The figures; None if there are too few classes to hold some out, or no images of them to ask about.
    """
    classes = len(draws[0].examples)
    held_out = max(1, round(classes / _HELD_OUT))
    if classes - held_out < _FEWEST_TAUGHT:
        return None
    found: dict[str, list[float]] = {name: [] for name in FIGURES}
    images = 0
    for draw, taught in zip(draws, _taught(classes, held_out, np.random.default_rng(seed)), strict=False):
        known, others = draw.of(taught), draw.of([each for each in range(classes) if each not in taught])
        if not (len(known.labels) and len(others.labels)):
            continue
        memory = known.teach(per_class, level)
        answers = [memory.recall(each.queries, evidence=1) for each in (known, others)]
        by_memory = auroc(*(torch.tensor([-answer.p_value for answer in each]) for each in answers))
        unsure = max_softmax(known.probe(per_class, np.concatenate([known.queries, others.queries])))
        by_softmax = auroc(unsure[: len(known.labels)], unsure[len(known.labels) :])
        refused = [np.mean([answer.unknown for answer in each]).item() for each in answers]
        for name, value in zip(FIGURES, (*refused, by_memory, by_softmax, by_memory - by_softmax), strict=True):
            found[name].append(value)
        images += len(others.labels)
    if not images:
        return None
    return UnknownDetection(per_class, held_out, level, len(found[FIGURES[0]]), images, *_summary(found))


def _summary(found: Mapping[str, Sequence[float]]) -> tuple[dict[str, float], dict[str, float] | None]:
    """Means and standard deviations of values over draws; of one draw there is no deviation."""
    means = {name: fmean(values) for name, values in found.items()}
    several = all(len(values) > 1 for values in found.values())
    return means, {name: stdev(values) for name, values in found.items()} if several else None


def _taught(classes: int, held_out: int, random: np.random.Generator) -> Iterator[list[int]]:
    """Choose the classes that are taught, again and again; each is held out about as often as another."""
    while True:
        order = random.permutation(classes)
        for start in range(0, classes - held_out + 1, held_out):
            yield sorted(set(range(classes)) - set(order[start : start + held_out].tolist()))


def _choose(samples: LabelledImages, count: int, random: np.random.Generator) -> np.ndarray:
    """Draw images of every class; their places, shape (classes, count)."""
    labels = samples.labels.numpy()
    chosen = []
    for code, name in enumerate(samples.classes):
        places = np.nonzero(labels == code)[0]
        if len(places) < count:
            raise DataError(f"{samples.origin}: class {name} has {counted(len(places), 'image')}, fewer than {count}")
        chosen.append(random.permutation(places)[:count])
    return np.stack(chosen)
