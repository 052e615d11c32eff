"""Models behind real processes, for tests of what answers and when."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import ServiceError
from service.http.problems import problem_of
from service.model_process.classifier import Classifier
from service.model_process.mixed_batch import split
from service.models.registry import Models
from service.models.served_model import ServedModel
from service.observability.events import Observer
from service.repository.folders import locate
from tests.support.images.service_images import scene
from tests.support.processes.waiting import CEILING, until

IMAGE = scene(32, 32)


class Witness(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def batch(self, model: str, version: str, operation: str, size: int, waits: Any, seconds: float) -> None:
        assert len(waits) == size
        assert min(waits) >= 0
        assert seconds > 0
        self.told.append(("batch", operation, size))

    def rejected(self, model: str, version: str, reason: str) -> None:
        self.told.append(("rejected", reason))

    def loaded(self, model: str, version: str, seconds: float, error: str | None) -> None:
        self.told.append(("loaded", f"{model}/{version}", error is None))

    def ended(self, model: str, version: str, expected: bool) -> None:
        self.told.append(("ended", f"{model}/{version}", expected))


def publish(folder: Path, root: Path, name: str, version: int) -> Path:
    """Copies a model into a folder of models as people should: under another name, then renamed."""
    target = root / name / str(version)
    target.parent.mkdir(parents=True, exist_ok=True)
    hidden = target.parent / f".{version}"
    shutil.copytree(folder, hidden)
    if target.exists():
        shutil.rmtree(target)
    return hidden.rename(target)


@cache
def expected(folder: Path) -> np.ndarray:
    """Logits of the image, without a service."""
    classifier = Classifier(locate(folder))
    return classifier.logits(split([classifier.prepare(IMAGE)]))


async def ask(model: ServedModel, count: int = 1, **options: Any) -> np.ndarray:
    return (await model.infer([model.prepare(IMAGE)] * count, **options)).outputs


@contextmanager
def refused(status: int, words: str = ".") -> Iterator[None]:
    with pytest.raises(ServiceError, match=words) as caught:
        yield
    assert problem_of(caught.value).status == status


@contextmanager
def stopped(model: ServedModel) -> Iterator[None]:
    """Within this context the model's process does nothing, so that what is under way stays so."""
    assert model.pid
    os.kill(model.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        if model.pid:
            os.kill(model.pid, signal.SIGCONT)


async def ask_until_answered(model: ServedModel) -> None:
    """Ask again for as long as the model refuses, as when a slow process was taken for one that hangs."""
    async with asyncio.timeout(CEILING):
        while True:
            try:
                await ask(model)
                return
            except ServiceError:
                await until(lambda: model.ready, "the model to be ready")


async def look(models: Models) -> None:
    """Look for changes on disk as the watcher does, when the test says so."""
    await models._loader.apply(settled_only=True)


def batch_size(model: ServedModel) -> int:
    """What warming up has found best, at most `model.max_batch`."""
    return model._batchers["logits"].max_batch


async def fill(model: ServedModel, waiting: int) -> tuple[list[asyncio.Task[Any]], asyncio.Task[Any]]:
    """Requests for two full batches, which are handed to the process, and one that waits behind them."""
    running = []
    for _ in range(2):
        running.append(asyncio.create_task(ask(model, batch_size(model))))
        await asyncio.sleep(0)  # it stands in the queue now
        await until(lambda: model.depth == 0)
    last = asyncio.create_task(ask(model, waiting))
    await until(lambda: model.depth == waiting)
    return running, last


@contextmanager
def asked_all_the_time(models: Models) -> Iterator[list[np.ndarray]]:
    """Clients that ask without a pause while the files change; none of them may be turned away."""
    answers: list[np.ndarray] = []

    async def client() -> None:
        while True:
            with models.use() as model:
                await asyncio.sleep(0.005)  # its image is on the way
                answers.append((await ask(model))[0])

    clients = [asyncio.create_task(client()) for _ in range(3)]
    try:
        yield answers
    finally:
        failures = [task.exception() for task in clients if task.done()]
        for task in clients:
            task.cancel()
        assert failures == []


def same(answer: np.ndarray, folder: Path) -> bool:
    return bool(np.allclose(answer, expected(folder)[0], atol=1e-3))
