"""The models that are served: which there are, which of them answer, loading and unloading."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from service.observer import Observer
from service.problems import Problem, unavailable
from service.repository import ModelError, locate
from service.runner import Classifier
from service.served_model import Inference, Operation, ServedModel
from service.settings import Settings

__all__ = ["Inference", "ModelStatus", "Models", "Operation", "ServedModel"]

State = Literal["loading", "ready", "restarting", "unloading", "unavailable"]


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model, on disk or in memory.

    Attributes:
        state: "ready" answers requests, "restarting" will again soon, "unavailable" does not.
        reason: why it does not answer; empty when it does.
    """

    name: str
    version: str
    state: State
    reason: str = ""


class Models:
    """All models of a server process."""

    def __init__(self, settings: Settings, observer: Observer | None = None) -> None:
        self.settings = settings
        self.observer = observer or Observer()
        self._model: ServedModel | None = None
        self.failure: ModelError | None = None

    @property
    def default(self) -> str:
        """Name of the model that answers where a request names none.

        Raises:
            Problem: 503 while nothing is loaded.
        """
        return self.get().folder.name

    @property
    def ready(self) -> bool:
        """Whether loading at start has ended and the default model answers."""
        return self._model is not None

    def get(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model that answers, for a look at it; `use` holds on to it.

        Args:
            name: None is the default model.
            version: None is the highest that is ready.

        Raises:
            Problem: 404 if there is no such model or version, 503 if it does not answer now.
        """
        if self._model is None:
            raise unavailable(
                "The model could not be loaded; the cause is in the server's log."
                if self.failure
                else "The model is still loading."
            )
        folder = self._model.folder
        if name not in (None, folder.name):
            raise Problem(404, "unknown-model", f"There is no model {str(name)[:100]!r}. There is: {folder.name}.")
        if version not in (None, folder.version):
            detail = f"Model {folder.name} has no version {str(version)[:100]!r}. It has: {folder.version}."
            raise Problem(404, "unknown-version", detail)
        return self._model

    @contextmanager
    def use(self, name: str | None = None, version: str | None = None) -> Iterator[ServedModel]:
        """Like `get`, and the model keeps answering within the context even if it is replaced or unloaded."""
        yield self.get(name, version)

    def index(self) -> list[ModelStatus]:
        """Every version there is on disk or in memory, by name, then by version."""
        if self._model is None:
            return []
        return [ModelStatus(self._model.folder.name, self._model.folder.version, "ready")]

    def versions(self, name: str) -> list[str]:
        """Versions of a model that answer, the lowest first."""
        return [self.get(name).folder.version]

    async def start(self) -> None:
        """Loads what is to be served; what fails is kept, not raised."""
        settings = self.settings

        def load() -> Classifier:
            return Classifier(locate(settings.model), device=settings.device, max_batch=settings.max_batch)

        try:
            classifier = await asyncio.to_thread(load)
        except ModelError as error:
            self.failure = error
        else:
            self._model = ServedModel(classifier.folder, classifier, self.observer)

    async def load(self, name: str) -> None:
        """Loads a model of the repository, or loads it again from changed files; it answers on return.

        Raises:
            Problem: 404 if there is no such model, 503 with the reason if none of its versions can be loaded.
        """
        self.get(name)

    async def unload(self, name: str) -> None:
        """Takes a model out of service: it is not found from here on, and what it has begun is finished.

        Raises:
            Problem: 404 if it is not loaded.
        """
        self.get(name)
        self._model = None

    async def close(self) -> None:
        """Finishes what has begun and ends every model."""
