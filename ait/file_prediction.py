"""Classify files and whole folders: threads decode the next large images while the model works on these."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from torch import Tensor

from ait.classifier import Classifier, Labels
from ait_lite.images.errors import ImageError
from ait_lite.images.files import describe_others, list_images

# Batches that are decoded ahead, so that neither the model nor the threads wait for the other.
_AHEAD = 2
# A file of fewer bytes is decoded in less time than handing it to a thread and back takes, and threads that run Python
# rather than a decoder keep the one that calls the model from its lock.
_SMALL_BYTES = 8192

_Cropped = Tensor | str  # uint8 (C, H, W), or why the file cannot be used


@dataclass(frozen=True)
class FilePrediction:
    """The answer to one file.

    Attributes:
        path: The file.
        labels: (class name, probability), the most probable first; empty if the file cannot be used.
        error: Why the file cannot be used; None if it can.
    """

    path: Path
    labels: Labels
    error: str | None = None


@dataclass(frozen=True)
class FoundFiles:
    """Files to classify.

    Attributes:
        paths: The files, those of a folder sorted.
        remarks: What lies in the folders and is not read, a line each.
    """

    paths: list[Path]
    remarks: list[str]


def find_images(places: Iterable[str | Path]) -> FoundFiles:
    """List image files: files as they are named, and those in folders, at any depth, without hidden entries.

    Args:
        places: Files and folders. A file that is named is taken whatever it is called, and if it does not exist.

    Raises:
        FileNotFoundError: A folder holds no image.
        OSError: A folder cannot be listed.
    """
    paths: list[Path] = []
    remarks: list[str] = []
    for place in map(Path, places):
        if not place.is_dir():
            paths.append(place)
            continue
        found = list_images(place)
        described = describe_others(place, found.others, list(found.again))
        if not found.images:
            raise FileNotFoundError("; ".join([f"{place} holds no images", *described]))
        paths += [place / image for image in found.images]
        remarks += described
    return FoundFiles(paths, remarks)


def predict_files(
    classifier: Classifier, paths: Iterable[str | Path], top_k: int = 5, threads: int | None = None
) -> Iterator[FilePrediction]:
    """Classify image files; one that cannot be used does not stop the others.

    Memory does not grow with the number of files.

    Args:
        classifier: Its `batch_size` is the most images in one forward pass.
        paths: The files.
        top_k: Classes to name; more than there are means all.
        threads: Threads that decode all but small files; None is one per processor.

    Yields:
        One answer per file, in the same order.
    """
    waiting: deque[list[tuple[Path, _Cropped | Future[_Cropped]]]] = deque()
    remaining = iter(paths)
    # Without a wait at the end: who stops listening has no use for what is being decoded.
    pool = ThreadPoolExecutor(threads or len(os.sched_getaffinity(0)), thread_name_prefix="decode")
    try:
        while True:
            while len(waiting) <= _AHEAD:
                part = [Path(path) for path in islice(remaining, classifier.batch_size)]
                if not part:
                    break
                waiting.append([(path, _begin(pool, classifier, path)) for path in part])
            if not waiting:
                return
            yield from _answers(classifier, waiting.popleft(), top_k)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _begin(pool: ThreadPoolExecutor, classifier: Classifier, path: Path) -> _Cropped | Future[_Cropped]:
    """Decode a small file at once, and have a thread decode another one."""
    try:
        small = path.stat().st_size <= _SMALL_BYTES
    except OSError:
        small = True  # there is nothing to decode
    return _crop(classifier, path) if small else pool.submit(_crop, classifier, path)


def _crop(classifier: Classifier, path: Path) -> _Cropped:
    """Decode a file, or say why it cannot be used."""
    try:
        return classifier.crop(path)
    except ImageError as error:
        return str(error)
    except FileNotFoundError:
        return "There is no such file."
    except OSError as error:
        return f"It cannot be read ({error.strerror or error})."


def _answers(
    classifier: Classifier, part: list[tuple[Path, _Cropped | Future[_Cropped]]], top_k: int
) -> Iterator[FilePrediction]:
    results = [(path, each.result() if isinstance(each, Future) else each) for path, each in part]
    images = [result for _, result in results if isinstance(result, Tensor)]
    probabilities = classifier.classify(classifier.normalise(images)) if images else None
    labels = iter(classifier.name(probabilities, top_k) if probabilities is not None else [])
    for path, result in results:
        if isinstance(result, str):
            yield FilePrediction(path, [], result)
        else:
            yield FilePrediction(path, next(labels))
