"""The models that are served: which there are, which of them answer, loading and unloading."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from service.catalogue import Catalogue, Entry
from service.launcher import Launcher
from service.observer import Observer
from service.problems import Problem, unavailable
from service.repository import ModelError, ModelKey, fingerprint, read_serving
from service.served_model import Inference, Operation, ServedModel
from service.settings import Settings

__all__ = ["Inference", "ModelStatus", "Models", "Operation", "ServedModel"]

logger = logging.getLogger(__name__)

State = Literal["loading", "ready", "restarting", "unloading", "unavailable"]


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model, on disk or in memory.

    Attributes:
        state: "ready" answers requests, "restarting" will again soon, "unavailable" does not.
        reason: why it does not answer; or, of one that does, why its newer files are not used. Empty if neither.
    """

    name: str
    version: str
    state: State
    reason: str = ""


class Models:
    """All models of a server process."""

    def __init__(self, settings: Settings, observer: Observer | None = None, launcher: Launcher | None = None) -> None:
        """`launcher` starts the processes; it may be shared, and is closed by whoever made it."""
        self.settings = settings
        self.observer = observer or Observer()
        self.failure: ModelError | None = None
        self._catalogue = Catalogue(settings.model, settings.models)
        self._launcher = launcher or Launcher()
        self._closes_launcher = launcher is None
        self._served: dict[ModelKey, ServedModel] = {}
        self._default: str | None = None
        self._highest: dict[str, ServedModel] = {}
        self._loading: ModelKey | None = None
        self._retiring: dict[asyncio.Task[None], ModelKey] = {}
        self._started = False
        self._only_failure: ModelError | None = None
        self._changing = asyncio.Lock()  # one change at a time: loading takes memory
        self._watcher: asyncio.Task[None] | None = None

    @property
    def default(self) -> str:
        """Name of the model that answers where a request names none.

        Raises:
            Problem: 503 while there is none.
        """
        if self._default is None:
            raise unavailable(
                "The model could not be loaded; the cause is in the server's log."
                if self._started
                else "The model is still loading."
            )
        return self._default

    @property
    def ready(self) -> bool:
        """Whether loading at start has ended and the default model answers."""
        return self._started and self._default is not None and self._highest[self._default].ready

    def get(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """The model that answers, for a look at it; `use` holds on to it.

        Args:
            name: None is the default model.
            version: None is the highest that is loaded.

        Raises:
            Problem: 404 if there is no such model or version, 503 if it does not answer now.
        """
        name = self.default if name is None else name
        model = self._highest.get(name) if version is None else self._served.get(ModelKey(name, version))
        if model is None:
            raise self._missing(name, version)
        if not model.ready:
            raise unavailable(f"Model {name} is restarting.")
        return model

    @contextmanager
    def use(self, name: str | None = None, version: str | None = None) -> Iterator[ServedModel]:
        """Like `get`, and the model keeps answering within the context even if it is replaced or unloaded."""
        model = self.get(name, version)
        with model.held():
            yield model

    def index(self) -> list[ModelStatus]:
        """Every version there is on disk or in memory, by name, then by version."""
        keys = {*self._served, *self._catalogue.entries, *self._retiring.values()}
        return [self._status(key) for key in sorted(keys, key=lambda key: (key.name, key.order))]

    def versions(self, name: str) -> list[str]:
        """Versions of a model that are loaded, the lowest first."""
        return [key.version for key in sorted(self._served, key=lambda key: key.order) if key.name == name]

    async def start(self) -> None:
        """Loads what is to be served; what fails is kept, not raised."""
        try:
            async with self._changing:
                await self._apply()
        except ModelError as error:
            self.failure = error
        except Exception as error:
            logger.exception("loading failed")
            self.failure = ModelError(f"Nothing can be loaded: {error}. The cause is in the log above.")
        self._started = True
        if self.settings.models is None and self._default is None and self.failure is None:
            self.failure = self._only_failure
        if self.settings.models is not None and self.settings.reload_seconds:
            self._watcher = asyncio.create_task(self._watch())

    async def load(self, name: str) -> None:
        """Loads a model that is on disk, or loads it again from changed files; it answers on return.

        Raises:
            Problem: 404 if there is no such model, 503 with the reason if none of its versions can be loaded.
        """
        async with self._changing:
            self._catalogue.want(name)
            await self._apply(only=name)
        if not self.versions(name):
            entries = [entry for key, entry in self._catalogue.entries.items() if key.name == name]
            if not entries:
                raise self._missing(name, None)
            raise unavailable(f"Model {name} cannot be loaded. {' '.join(entry.reason for entry in entries)}")

    async def unload(self, name: str) -> None:
        """Takes a model out of service: it is not found from here on, and what it has begun is finished.

        It stays out until it is loaded again by name.

        Raises:
            Problem: 404 if it is not loaded.
        """
        keys = [key for key in self._served if key.name == name]
        if not keys:
            raise self._missing(name, None)
        self._catalogue.reject(name)
        for key in keys:
            self._retire(key)

    async def close(self) -> None:
        """Finishes what has begun and ends every model."""
        if self._watcher:
            self._watcher.cancel()
        for key in list(self._served):
            self._retire(key)
        await asyncio.gather(*self._retiring, return_exceptions=True)
        if self._closes_launcher:
            self._launcher.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.reload_seconds)
            try:
                async with self._changing:
                    await self._apply(settled_only=True)
            except OSError as error:
                logger.error("AIT_MODELS cannot be looked through, what is loaded stays: %s", error)
            except Exception:
                logger.exception("looking for changed models failed")

    async def _apply(self, *, only: str | None = None, settled_only: bool = False) -> None:
        """Loads what should be served and is not, replaces what has changed, and ends what should not be.

        Args:
            only: the name of one model; the others are left as they are.
            settled_only: leaves out what has changed since the last look: it may be half copied.
        """
        catalogue, limit = self._catalogue, self.settings.max_models
        await asyncio.to_thread(catalogue.look)
        for key in [key for key in self._served if key not in catalogue.entries]:
            if not settled_only or catalogue.is_gone(key):
                self._retire(key)
        kept = {key for key in self._served if key not in catalogue.entries or only not in (None, key.name)}
        for key in catalogue.order():
            if only not in (None, key.name) or catalogue.enough(key, kept):
                continue
            entry = catalogue.entries[key]
            if len(kept) >= limit:
                entry.reason = f"AIT_MAX_MODELS={limit} models are loaded."
                continue
            if entry.stale and (entry.settled or not settled_only):
                await self._load(key, entry)
            if key in self._served:
                kept.add(key)
        for key in self._served.keys() - kept:
            self._retire(key)

    async def _load(self, key: ModelKey, entry: Entry) -> None:
        self._loading = key
        try:
            folder = await asyncio.to_thread(self._catalogue.read, key)
            serving = await asyncio.to_thread(read_serving, folder.path)
            model = await ServedModel.load(folder, self._launcher, self.settings, serving, self.observer)
            if await asyncio.to_thread(fingerprint, folder.path) != entry.files:
                await model.close()
                raise ModelError(f"{folder.path} changed while it was loaded. It is tried again.")
            if not self._catalogue.wants(key.name):  # unloaded meanwhile
                await model.close()
                return
        except (ModelError, OSError) as error:
            entry.failed, entry.reason = entry.files, self._catalogue.relative(str(error))
            self._only_failure = ModelError(str(error))
            logger.error("model %s version %s: %s", *key, error)
            return
        finally:
            self._loading = None
        if old := self._served.get(key):
            self._end(key, old)
        self._served[key] = model
        entry.loaded, entry.failed, entry.reason = entry.files, None, ""
        self._refresh()

    def _retire(self, key: ModelKey) -> None:
        """Takes a version out of service: it is not found from here on."""
        if entry := self._catalogue.entries.get(key):
            entry.loaded = None
        self._end(key, self._served.pop(key))
        self._refresh()

    def _end(self, key: ModelKey, model: ServedModel) -> None:
        """Ends a model when it has finished what it began."""
        task = asyncio.create_task(model.retire())
        self._retiring[task] = key
        task.add_done_callback(self._retired)

    def _retired(self, task: asyncio.Task[None]) -> None:
        key = self._retiring.pop(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("ending model %s version %s failed", *key, exc_info=error)

    def _refresh(self) -> None:
        """Notes which version of each model answers by default, and which model."""
        ordered = sorted(self._served, key=lambda key: (key.name, key.order))
        self._highest = {key.name: self._served[key] for key in ordered}
        if self._default not in self._highest:  # else it stays: what a nameless request gets must not change by itself
            wanted = self._catalogue.default
            first = next(iter(self._highest), None)
            self._default = first if wanted is None else wanted if wanted in self._highest else None

    def _status(self, key: ModelKey) -> ModelStatus:
        entry = self._catalogue.entries.get(key)
        reason = entry.reason if entry else ""
        if model := self._served.get(key):
            return ModelStatus(*key, "ready" if model.ready else "restarting", reason)
        if key == self._loading:
            return ModelStatus(*key, "loading")
        if key in self._retiring.values():
            return ModelStatus(*key, "unloading")
        return ModelStatus(*key, "unavailable", reason or "It has not been loaded.")

    def _missing(self, name: str, version: str | None) -> Problem:
        """404 for what there is not, 503 for what is on disk but does not answer."""
        if not self._started:
            return unavailable("The model is still loading.")
        versions = [key for key in self._catalogue.entries if key.name == name and self._catalogue.wants(name)]
        if not versions and not self.versions(name):
            names = ", ".join(sorted({key.name for key in self._served})) or "none"
            return Problem(404, "unknown-model", f"There is no model {name[:100]!r}. There is: {names}.")
        if version is not None and ModelKey(name, version) not in versions:
            known = ", ".join(self.versions(name)) or "none"
            detail = f"Model {name} has no version {version[:100]!r}. It has: {known}."
            return Problem(404, "unknown-version", detail)
        asked = f"Model {name}" if version is None else f"Version {version} of model {name}"
        if self._loading is not None and self._loading.name == name and version in (None, self._loading.version):
            return unavailable(f"{asked} is loading.")
        return unavailable(f"{asked} is not loaded; the cause is in the server's log.")
