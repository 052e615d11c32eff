"""How fast a memory of classes teaches, recalls and forgets, and how well it reads labels beside a linear probe."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ait.classifier import load
from ait_lite.class_memory import ClassMemory
from training.data import LabelledImages
from training.data.sources.folder import Layout, scan_splits
from training.errors import DataError
from training.teaching.images import embed_files

READOUTS: Final = ("ridge", "hopfield", "prototype")
_CLASSES: Final = 10
_SPREAD: Final = 2.0  # of examples around the centre of their class, of standard deviation 1 itself
_REPEATS: Final = 20
_PENALTIES: Final = (1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class MemorySpeed:
    """Times of a memory that holds some number of examples, in milliseconds; medians, but for the first two.

    Attributes:
        examples: Number of examples.
        width: Numbers in a feature vector.
        write_all: Teach all of them at once.
        first_recall: Answer the first query after that.
        recall_1: Answer one query.
        recall_64: Answer 64 queries at once.
        teach: Teach one example, the solve deferred.
        teach_shown: Teach one, and answer a query with it.
        forget_shown: Forget one, and answer a query without it.
    """

    examples: int
    width: int
    write_all: float
    first_recall: float
    recall_1: float
    recall_64: float
    teach: float
    teach_shown: float
    forget_shown: float


@dataclass(frozen=True)
class MemoryAccuracy:
    """Share of test images that are labelled right, with some number of examples per class.

    Attributes:
        per_class: Examples per class.
        images: Test images.
        readouts: Accuracy by readout.
        probe: Accuracy of logistic regression on the same features, its penalty chosen on a part of them.
    """

    per_class: int
    images: int
    readouts: dict[str, float]
    probe: float


def time_memory(count: int, width: int = 192, seed: int = 0) -> MemorySpeed:
    """Time a memory of made examples.

    Args:
        count: Number of examples.
        width: Numbers in a feature vector.
        seed: Decides the examples.
    """
    random = np.random.default_rng(seed)
    centres = random.standard_normal((_CLASSES, width))
    codes = np.arange(count + 4 * _REPEATS) % _CLASSES
    vectors = centres[codes] + _SPREAD * random.standard_normal((len(codes), width))
    labels = [f"class {code}" for code in codes]
    queries = centres[np.arange(64) % _CLASSES] + _SPREAD * random.standard_normal((64, width))
    memory = ClassMemory(width)
    write_all = _milliseconds(lambda: memory.write([str(i) for i in range(count)], vectors[:count], labels[:count]))
    first_recall = _milliseconds(lambda: memory.recall(queries[:1]))
    new = iter(range(count, len(codes)))
    taught: list[str] = []

    def teach() -> None:
        index = next(new)
        taught.append(str(index))
        memory.write([str(index)], vectors[index : index + 1], [labels[index]])

    def teach_shown() -> None:
        teach()
        memory.recall(queries[:1])

    def forget_shown() -> None:
        memory.forget([taught.pop()])
        memory.recall(queries[:1])

    return MemorySpeed(
        examples=count,
        width=width,
        write_all=write_all,
        first_recall=first_recall,
        recall_1=_median(lambda: memory.recall(queries[:1])),
        recall_64=_median(lambda: memory.recall(queries)),
        teach=_median(teach),
        teach_shown=_median(teach_shown),
        forget_shown=_median(forget_shown),
    )


def measure_accuracy(
    checkpoint: str | Path,
    data: str | Path,
    counts: Sequence[int] = (1, 5, 20, 100),
    *,
    test_images: int = 1000,
    seed: int = 0,
    layout: Layout = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> list[MemoryAccuracy]:
    """Measure the readouts of a memory and a linear probe, on the same features of a model.

    Args:
        checkpoint: A checkpoint folder, or name of a bundled model.
        data: A folder with ``train/``, and ``val/`` or ``test/``.
        counts: Numbers of examples per class.
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
    examples = _choose(train, max(counts), np.random.default_rng(seed))
    asked = test.select(np.unique(np.linspace(0, len(test) - 1, min(test_images, len(test))).astype(int)).tolist())
    paths = [samples.file(index) for samples in (examples, asked) for index in range(len(samples))]
    features = np.stack([each.features for each in embed_files(load(checkpoint), paths, progress=progress)])
    known, queries = features[: len(examples)], features[len(examples) :]
    # Examples stand class after class, in the order in which they were drawn.
    places = np.arange(len(examples)).reshape(-1, max(counts))
    results = []
    for count in counts:
        chosen = places[:, :count].ravel()
        codes = examples.labels[torch.from_numpy(chosen)]
        memory = ClassMemory(known.shape[1])
        memory.write([str(i) for i in chosen], known[chosen], [str(code) for code in codes.tolist()])
        right = {}
        for readout in READOUTS:
            answers = memory.recall(queries, readout=readout, evidence=1)
            pairs = zip(answers, asked.labels.tolist(), strict=True)
            right[readout] = float(np.mean([answer.label == str(code) for answer, code in pairs]))
        said = linear_probe(torch.from_numpy(known[chosen]).float(), codes, torch.from_numpy(queries).float())
        accuracy = float((said == asked.labels).double().mean())
        results.append(MemoryAccuracy(count, len(asked), right, accuracy))
    return results


def linear_probe(features: Tensor, labels: Tensor, queries: Tensor) -> Tensor:
    """Fit logistic regression to features, and label queries.

    Features are standardised. The L2 penalty is the one with the smallest loss on a fifth of the examples, where a
    class has five or more; else the largest.

    Args:
        features: Shape (n, F).
        labels: (n,) int64.
        queries: Shape (b, F).

    Returns:
        Labels, (b,) int64.
    """
    mean, deviation = features.mean(0), features.std(0, correction=0).clamp_min(1e-6)
    features, queries = (features - mean) / deviation, (queries - mean) / deviation
    classes = int(labels.max()) + 1
    held_out = torch.zeros(len(labels), dtype=torch.bool)
    for label in range(classes):
        held_out[(labels == label).nonzero().flatten()[4::5]] = True
    best = _PENALTIES[-1]
    if held_out.any():
        losses = {}
        for penalty in _PENALTIES:
            weight, bias = _fit(features[~held_out], labels[~held_out], classes, penalty)
            losses[penalty] = float(F.cross_entropy(features[held_out] @ weight + bias, labels[held_out]))
        best = min(losses, key=lambda penalty: losses[penalty])
    weight, bias = _fit(features, labels, classes, best)
    return (queries @ weight + bias).argmax(1)


def to_json(speeds: Sequence[MemorySpeed], accuracies: Sequence[MemoryAccuracy]) -> dict[str, Any]:
    """Gather results as what JSON can hold."""
    return {"speed": [asdict(each) for each in speeds], "accuracy": [asdict(each) for each in accuracies]}


def _fit(features: Tensor, labels: Tensor, classes: int, penalty: float) -> tuple[Tensor, Tensor]:
    weight = torch.zeros(features.shape[1], classes, requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimiser.zero_grad()
        value = F.cross_entropy(features @ weight + bias, labels) + penalty * weight.square().sum() / 2
        value.backward()
        return float(value.detach())

    optimiser.step(loss)
    return weight.detach(), bias.detach()


def _choose(samples: LabelledImages, count: int, random: np.random.Generator) -> LabelledImages:
    labels = samples.labels.numpy()
    chosen: list[int] = []
    for code, name in enumerate(samples.classes):
        places = np.nonzero(labels == code)[0]
        if len(places) < count:
            raise DataError(f"{samples.origin}: class {name} has {len(places)} images, fewer than {count}")
        chosen += random.permutation(places)[:count].tolist()
    return samples.select(chosen)


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def _median(work: Callable[[], object]) -> float:
    return median(_milliseconds(work) for _ in range(_REPEATS))
