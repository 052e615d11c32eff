"""How fast a memory of classes teaches, recalls and forgets."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

import numpy as np

from ait_lite.class_memory import ClassMemory

_CLASSES: Final = 10
_SPREAD: Final = 2.0  # of examples around the centre of their class, of standard deviation 1 itself
_REPEATS: Final = 20


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


def _milliseconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def _median(work: Callable[[], object]) -> float:
    return median(_milliseconds(work) for _ in range(_REPEATS))
