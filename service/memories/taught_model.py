"""Serve a memory as a model: under /v1/models and /v2, to clients that know nothing of memories."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np

from ait_lite.images.pixels import Pixels
from service.errors import MemoryNotFound, ModelUnavailable, ServiceError
from service.memories.answering.index import keys_of
from service.memories.memories import Memories
from service.memories.records import Memory
from service.models.served_model import Inference, Operation, ServedModel
from service.repository.folders import ModelFolder

logger = logging.getLogger(__name__)

VERSION: Final = "1"
POLL_SECONDS: Final = 0.25  # between two looks whether another process has written
RETRY_SECONDS: Final = 5.0  # after one that has failed


class TaughtModel(ServedModel):
    """A memory in front of its model, with the labels that it had when it was asked for.

    Its logits are those whose softmax are the memory's scores. It has no process of its own.
    """

    def __init__(
        self, memories: Memories, memory: Memory, labels: list[str], calibrated: bool, model: ServedModel
    ) -> None:
        """Take a memory, its labels, and the model that it belongs to."""
        self._memories, self._memory, self._model = memories, memory, model
        self._calibrated = calibrated
        architecture = model.folder.architecture
        self.folder = ModelFolder(memory.name, VERSION, model.folder.path, {"architecture": architecture})
        self.labels = labels
        self.input_size = model.input_size
        self.num_features = model.num_features
        self.temperature = None  # the logits are tempered already
        self.runtime, self.no_torch = model.runtime, model.no_torch
        self.max_batch = model.max_batch

    @property
    def explains(self) -> bool:
        return False

    @property
    def ready(self) -> bool:
        return self._model.ready

    @property
    def calibrated(self) -> bool:
        return self._calibrated

    @property
    def pid(self) -> int | None:
        return self._model.pid

    @property
    def depth(self) -> int:
        return self._model.depth

    @contextmanager
    def held(self) -> Iterator[None]:
        with self._model.held():
            yield

    def region(self, width: int, height: int) -> list[float]:
        return self._model.region(width, height)

    def prepare(self, pixels: Pixels) -> np.ndarray:
        return self._model.prepare(pixels)

    def check_room(self, inputs: int, operation: Operation = "logits") -> None:
        self._model.check_room(inputs, "features")

    async def infer(
        self, inputs: Sequence[np.ndarray], *, operation: Operation = "logits", deadline: float | None = None
    ) -> Inference:
        features = await self._model.infer(inputs, operation="features", deadline=deadline)
        if operation == "features":
            return features
        logits = await self._memories.run(self._logits, features.outputs)
        return Inference(logits, features.queue, features.infer)

    async def explain(
        self, pixels: np.ndarray, *, class_index: int | None = None, deadline: float | None = None
    ) -> dict[str, Any]:
        raise ModelUnavailable(f"Memory {self.folder.name} cannot be explained; its /recall names its evidence.")

    async def retire(self) -> None:
        """Do nothing: the model is somebody else's."""

    async def close(self) -> None:
        """Do nothing: the model is somebody else's."""

    def _logits(self, features: np.ndarray) -> np.ndarray:
        with self._memories.state(self.folder.name) as state:
            if state.memory.binding != self._memory.binding or not state.reading.labels:
                raise ModelUnavailable(f"Memory {self.folder.name} has changed. Ask again.")
            keys = keys_of(features, state.memory.binding)
            logits = state.reading.logits(state.content.score_keys(keys))
            place = {label: index for index, label in enumerate(state.reading.labels)}
        # A label that has gone meanwhile is as improbable as can be said with a finite number.
        outputs = np.full((len(features), len(self.labels)), -1e4, np.float32)
        for index, label in enumerate(self.labels):
            if label in place:
                outputs[:, index] = logits[:, place[label]]
        return outputs


class TaughtModels:
    """The memories that answer as models, as they were a moment ago: looking one up must not wait for a store."""

    def __init__(self, memories: Memories) -> None:
        """Take the memories."""
        self._memories = memories
        self._known: dict[str, tuple[Memory, list[str], bool]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow what this and other processes write."""
        if not self._memories.off:
            self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Follow no more."""
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    def find(self, name: str) -> ServedModel | None:
        """Find a memory that has been taught something, while its model answers."""
        if (known := self._known.get(name)) is None:
            return None
        memory, labels, calibrated = known
        model = self._memories.bindings.known(memory)
        return TaughtModel(self._memories, memory, labels, calibrated, model) if model and labels else None

    def answering(self) -> list[ServedModel]:
        """List those that answer, by name."""
        return [model for name in self._known if (model := self.find(name))]

    async def _follow(self) -> None:
        seen: Hashable = None
        while True:
            self._memories.changed.clear()
            pause = POLL_SECONDS
            try:
                token = await self._memories.run(self._memories.store.token)
                if seen is None or token != seen:
                    await self._look()
                    seen = token
                for memory, _, _ in self._known.values():  # of models that were loaded later
                    if self._memories.bindings.known(memory) is None:
                        await self._memories.bindings.learn(memory.binding.model)
            except ServiceError as error:
                seen, pause = None, RETRY_SECONDS
                logger.warning("the memories cannot be looked through: %s", error)
            except Exception:  # whatever one memory brings about must not keep the others from being followed
                seen, pause = None, RETRY_SECONDS
                logger.exception("looking through the memories failed")
            try:
                async with asyncio.timeout(pause):
                    await self._memories.changed.wait()
            except TimeoutError:
                pass

    async def _look(self) -> None:
        known = {}
        for memory in await self._memories.all():
            before = self._known.get(memory.name)
            if before is not None and before[0] == memory:
                known[memory.name] = before
                continue
            try:
                known[memory.name] = await self._memories.run(self._read, memory.name)
            except MemoryNotFound:  # deleted in between
                continue
        # Listed again: some may have been made while the others were read.
        self._memories.drop_all_but({memory.name for memory in await self._memories.all()})
        self._known = known

    def _read(self, name: str) -> tuple[Memory, list[str], bool]:
        with self._memories.state(name) as state:
            return state.memory, list(state.reading.labels), state.reading.calibrated
