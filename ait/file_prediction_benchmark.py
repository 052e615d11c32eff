"""Measure how fast files are classified, beside a plain loop that decodes a batch and then classifies it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from ait.classifier import Classifier
from ait.file_prediction import predict_files

SMALL_SIDE = 32  # pixels
PHOTO_SIZE = (1600, 1200)  # pixels
_DISTINCT = 16  # photographs that are made; the others are copies of their files


@dataclass(frozen=True)
class PredictionRate:
    """How fast the files of one folder are classified.

    Attributes:
        files: What they are.
        count: How many.
        images_per_second: Median over rounds.
        plain_per_second: The plain loop's rate, median over rounds.
        share: Of the plain loop's rate in the same round, median over rounds.
    """

    files: str
    count: int
    images_per_second: float
    plain_per_second: float
    share: float

    def to_dict(self) -> dict[str, Any]:
        """Return everything as values that JSON can hold."""
        return asdict(self)


def benchmark_prediction(
    classifier: Classifier,
    folder: Path,
    small: int = 4000,
    photos: int = 400,
    rounds: int = 3,
    on_case: Callable[[str], None] = lambda label: None,
) -> list[PredictionRate]:
    """Time `ait.file_prediction.predict_files` against a plain loop on small files and on photographs.

    The two take turns, for the clock of a shared machine wanders.

    Args:
        classifier: The model.
        folder: An empty folder, for generated files.
        small: Files of 32 x 32 pixels.
        photos: Files of 1600 x 1200 pixels.
        rounds: Turns.
        on_case: Called with a label before each turn, for progress.
    """
    on_case("generating files")
    cases = {
        f"PNG, {SMALL_SIDE} x {SMALL_SIDE}": _small(folder / "small", small),
        "JPEG, {} x {}".format(*PHOTO_SIZE): _photographs(folder / "photos", photos),
    }
    rates = []
    for name, paths in cases.items():
        if not paths:
            continue
        _plain(classifier, paths[: classifier.batch_size])  # the first pass is slower, and the files are read once
        ours, plain = [], []
        for number in range(rounds):
            on_case(f"{name}: round {number + 1} of {rounds}")
            plain.append(_rate(partial(_plain, classifier, paths), len(paths)))
            ours.append(_rate(partial(_overlapped, classifier, paths), len(paths)))
        share = median(mine / other for mine, other in zip(ours, plain, strict=True))
        rates.append(PredictionRate(name, len(paths), median(ours), median(plain), share))
    return rates


def _plain(classifier: Classifier, paths: list[Path]) -> None:
    size = classifier.batch_size
    for start in range(0, len(paths), size):
        classifier.predict(paths[start : start + size])


def _overlapped(classifier: Classifier, paths: list[Path]) -> None:
    for _ in predict_files(classifier, paths):
        pass


def _rate(work: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    work()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return count / (time.perf_counter() - start)


def _small(folder: Path, count: int) -> list[Path]:
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    paths = [folder / f"{index:05d}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(generator.integers(0, 256, (SMALL_SIDE, SMALL_SIDE, 3), dtype=np.uint8)).save(path)
    return paths


def _photographs(folder: Path, count: int) -> list[Path]:
    """Write smooth colours under a fine grain, about as hard to decode as photographs."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(1)
    made: list[bytes] = []
    paths = [folder / f"{index:05d}.jpg" for index in range(count)]
    for index, path in enumerate(paths):
        if index < _DISTINCT:
            coarse = Image.fromarray(generator.integers(0, 256, (6, 8, 3), dtype=np.uint8))
            smooth = np.asarray(coarse.resize(PHOTO_SIZE, Image.Resampling.BICUBIC), dtype=np.int16)
            grain = generator.integers(-12, 13, smooth.shape[:2], dtype=np.int16)[..., None]
            Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)
            made.append(path.read_bytes())
        else:
            path.write_bytes(made[index % _DISTINCT])
    return paths
