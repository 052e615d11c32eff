"""Classify files on disk without a server: the same steps, and so the same answers, as over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ait_lite.decode import ImageError, ImageLimits, decode
from service.model_process.classifier import Classifier
from service.repository.folders import locate
from service.scores import Labels
from service.settings import load_settings


@dataclass(frozen=True)
class FilePrediction:
    """The result of one file: labels, or an error that names the file and the remedy."""

    path: Path
    labels: Labels = field(default_factory=list)
    error: str | None = None


def predict_files(
    paths: Iterable[str | os.PathLike[str]],
    model: str | Path | None = None,
    top_k: int | None = None,
) -> list[FilePrediction]:
    """Classify image files; one that cannot be used does not stop the others.

    Args:
        paths: JPEG, PNG or WebP files.
        model: As for the server (folder, bundled name); None takes `AIT_MODEL`, else the bundled model.
        top_k: Labels a file, at least 1; more than there are classes means all of them.

    Returns:
        One entry a path, in the same order.

    Raises:
        ModelError: The model cannot be loaded.
        SettingsError: A setting in the environment is not usable.
        ValueError: `top_k` is less than 1.
    """
    return list(iter_predictions(paths, model, top_k))


def iter_predictions(
    paths: Iterable[str | os.PathLike[str]],
    model: str | Path | None = None,
    top_k: int | None = None,
) -> Iterator[FilePrediction]:
    """Classify image files as `predict_files` does, batch by batch: memory does not grow with the paths."""
    settings = load_settings(model=None if model is None else str(model), top_k=top_k)
    limits = ImageLimits(settings.max_pixels, settings.max_aspect)
    classifier = Classifier(locate(settings.model), device=settings.device, max_batch=settings.max_batch)
    pending: list[tuple[Path, np.ndarray | str]] = []
    for path in map(Path, paths):
        pending.append((path, _read(path, classifier, limits)))
        if len(pending) == settings.max_batch:
            yield from _answer(pending, classifier, settings.top_k)
            pending = []
    yield from _answer(pending, classifier, settings.top_k)


def _read(path: Path, classifier: Classifier, limits: ImageLimits) -> np.ndarray | str:
    """Decode and crop a file; return the array, or what is wrong with the file."""
    try:
        return classifier.prepare(decode(path.read_bytes(), limits))
    except ImageError as error:
        return f"{path}: {error}"
    except FileNotFoundError:
        return f"{path}: there is no such file. Check the path."
    except IsADirectoryError:
        return f"{path}: is a folder. Name the files in it, for example {path}/*.jpg."
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror}). Check its permissions."


def _answer(
    pending: list[tuple[Path, np.ndarray | str]], classifier: Classifier, top_k: int
) -> Iterator[FilePrediction]:
    prepared = [item for _, item in pending if isinstance(item, np.ndarray)]
    answers = iter(classifier.label(classifier.scores(prepared), top_k) if prepared else [])
    for path, item in pending:
        if isinstance(item, str):
            yield FilePrediction(path, error=item)
        else:
            yield FilePrediction(path, labels=next(answers))
