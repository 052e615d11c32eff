"""Find, load and unload the models that are served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, Protocol

from service.errors import ModelNotFound, ModelUnavailable, ServiceError, VersionNotFound
from service.model_process.launcher import Launcher
from service.models.idleness import Idleness
from service.models.lifecycle import Loader
from service.models.served_model import ServedModel
from service.observability.events import Observer
from service.repository.catalogue import Catalogue
from service.repository.folders import ModelError, ModelKey
from service.settings import Settings

logger = logging.getLogger(__name__)

State = Literal["loading", "ready", "restarting", "unloading", "unavailable"]


@dataclass(frozen=True)
class ModelStatus:
    """One version of a model, on disk or in memory.

    Attributes:
        state: "ready" answers requests, "restarting" will again soon, "unavailable" does not.
        reason: Why it does not answer; or, of one that does, why its newer files are not used. Empty if neither.
    """

    name: str
    version: str
    state: State
    reason: str = ""


class MoreModels(Protocol):
    """Models that come from elsewhere than a folder, each of one version, "1"."""

    def find(self, name: str) -> ServedModel | None:
        """Find the one of a name; None if it is not there, or does not answer."""

    def answering(self) -> list[ServedModel]:
        """List those that answer, by name."""


class Models:
    """All models of a server process.

    Attributes:
        settings: Of the server.
        observer: Is told what happens.
        failure: Why nothing can be served; None if something can, and before it is known.
        idleness: Of all models together.
    """

    def __init__(self, settings: Settings, observer: Observer | None = None, launcher: Launcher | None = None) -> None:
        """Prepare to load; a `launcher` that is given may be shared, and is closed by whoever made it."""
        self.settings = settings
        self.observer = observer or Observer()
        self.failure: ModelError | None = None
        self.idleness = Idleness()
        self._catalogue = Catalogue(settings.model, settings.models)
        self._launcher = launcher or Launcher(
            settings.log_format, start_seconds=settings.load_seconds, hung_seconds=settings.hung_seconds
        )
        self._closes_launcher = launcher is None
        self._loader = Loader(self._catalogue, settings, self.observer, self._launcher, self.idleness, self._refresh)
        self._default: str | None = None
        self._highest: dict[str, ServedModel] = {}
        self._started = False
        self._more: MoreModels | None = None
        self._watcher: asyncio.Task[None] | None = None

    @property
    def default(self) -> str:
        """Name of the model that answers where a request names none.

        Raises:
            ModelUnavailable: There is none now.
        """
        if self._default is None:
            self.check_started()
            raise ModelUnavailable("The model could not be loaded; the cause is in the server's log.")
        return self._default

    def extend(self, more: MoreModels) -> None:
        """Have models from elsewhere answer too; where names are the same, those from folders do."""
        self._more = more

    @property
    def answering(self) -> list[ServedModel]:
        """Of every model the version that answers by default, by name, and then those from elsewhere."""
        return [model for model in self._highest.values() if model.ready] + self._elsewhere()

    @property
    def ready(self) -> bool:
        """True once loading at start has ended, while the default model answers."""
        return self._started and self._default is not None and self._highest[self._default].ready

    def check_started(self) -> None:
        """Check that the models that were there at the start have been loaded.

        Raises:
            ModelUnavailable: They are still being loaded.
        """
        if not self._started:
            raise ModelUnavailable("The model is still loading.")

    def get(self, name: str | None = None, version: str | None = None) -> ServedModel:
        """Get the model that answers, for a look at it; `use` holds on to it.

        Args:
            name: None is the default model.
            version: None is the highest that is loaded.

        Raises:
            ModelNotFound: There is no such model or version.
            ModelUnavailable: It does not answer now.
        """
        name = self.default if name is None else name
        model = self._highest.get(name) if version is None else self._loader.served.get(ModelKey(name, version))
        if model is None and version in (None, "1") and name not in self._highest and self._more is not None:
            model = self._more.find(name)
        if model is None:
            raise self._missing(name, version)
        if not model.ready:
            raise ModelUnavailable(f"Model {name} is restarting.")
        return model

    @contextmanager
    def use(self, name: str | None = None, version: str | None = None) -> Iterator[ServedModel]:
        """Get a model as `get` does, and keep it answering within the context even if it is replaced or unloaded."""
        model = self.get(name, version)
        with model.held():
            yield model

    def index(self) -> list[ModelStatus]:
        """List every version on disk or in memory, by name, then by version."""
        keys = {*self._loader.served, *self._loader.ending, *self._catalogue.entries}
        own = [self._status(key) for key in sorted(keys, key=lambda key: (key.name, key.order))]
        return own + [ModelStatus(each.folder.name, each.folder.version, "ready") for each in self._elsewhere()]

    @property
    def launcher_pids(self) -> list[int]:
        """The processes that start the models, as far as there are any."""
        return self._launcher.pids

    def loaded(self) -> list[ServedModel]:
        """List every version in memory, also one that is being restarted, by name, then by version."""
        return [self._loader.served[key] for key in sorted(self._loader.served, key=lambda key: (key.name, key.order))]

    def versions(self, name: str) -> list[str]:
        """List the versions of a model that are loaded, the lowest first."""
        ordered = sorted(self._loader.served, key=lambda key: key.order)
        own = [key.version for key in ordered if key.name == name]
        return own or [each.folder.version for each in self._elsewhere() if each.folder.name == name]

    def _elsewhere(self) -> list[ServedModel]:
        more = [] if self._more is None else self._more.answering()
        return [model for model in more if model.folder.name not in self._highest]

    async def start(self) -> None:
        """Load what is to be served; what fails is kept, not raised."""
        try:
            with self.idleness.loading():
                await self._loader.apply()
        except ModelError as error:
            self.failure = error
        except Exception as error:
            logger.exception("loading failed")
            self.failure = ModelError(f"Nothing can be loaded: {error}. The cause is in the log above.")
        self._started = True
        if self.settings.models is None and self._default is None and self.failure is None:
            self.failure = self._loader.failure
        if self.settings.models is not None and self.settings.reload_seconds:
            self._watcher = asyncio.create_task(self._loader.watch())

    async def load(self, name: str) -> None:
        """Load a model that is on disk, or load it again from changed files; it answers on return.

        Raises:
            ModelNotFound: There is no such model.
            ModelUnavailable: None of its versions can be loaded; the message has the reasons.
        """
        self._catalogue.want(name)
        await self._loader.apply(only=name)
        if not self.versions(name):
            entries = [entry for key, entry in self._catalogue.entries.items() if key.name == name]
            if not entries:
                raise self._missing(name, None)
            raise ModelUnavailable(f"Model {name} cannot be loaded. {' '.join(entry.reason for entry in entries)}")

    async def unload(self, name: str) -> None:
        """Take a model out of service: it is not found from here on, and what it has begun is finished.

        It stays out until it is loaded again by name.

        Raises:
            ModelNotFound: There is no such model.
            ModelUnavailable: It is not loaded.
        """
        keys = [key for key in self._loader.served if key.name == name]
        if not keys:
            raise self._missing(name, None)
        self._catalogue.reject(name)
        for key in keys:
            self._loader.retire(key)

    @property
    def left_out(self) -> list[str]:
        """Names of the models that were unloaded and are to stay so."""
        return self._catalogue.rejected

    def leave_out(self, name: str) -> None:
        """Have a model that is not loaded stay so until it is loaded by name."""
        self._catalogue.reject(name)

    async def close(self, seconds: float | None = None) -> None:
        """Finish what has begun and end every model.

        Args:
            seconds: How long what has begun may take; None leaves that to `stuck_seconds`.
        """
        if self._watcher:
            self._watcher.cancel()
        ending = asyncio.create_task(self._loader.close())
        finished, _ = await asyncio.wait([ending], timeout=seconds)
        if not finished:
            self._loader.kill()
        await ending
        if self._closes_launcher:
            self._launcher.close()

    def _refresh(self) -> None:
        """Note which version of each model answers by default, and which model."""
        ordered = sorted(self._loader.served, key=lambda key: (key.name, key.order))
        self._highest = {key.name: self._loader.served[key] for key in ordered}
        if self._default not in self._highest:  # else it stays: what a nameless request gets must not change by itself
            wanted = self._catalogue.default
            first = next(iter(self._highest), None)
            self._default = first if wanted is None else wanted if wanted in self._highest else None

    def _status(self, key: ModelKey) -> ModelStatus:
        entry = self._catalogue.entries.get(key)
        reason = entry.reason if entry else ""
        if model := self._loader.served.get(key):
            return ModelStatus(*key, "ready" if model.ready else "restarting", reason)
        if key == self._loader.loading:
            return ModelStatus(*key, "loading")
        if key in self._loader.ending:
            return ModelStatus(*key, "unloading")
        return ModelStatus(*key, "unavailable", reason or "It has not been loaded.")

    def _missing(self, name: str, version: str | None) -> ServiceError:
        """Tell what there is not from what is on disk but does not answer."""
        self.check_started()
        versions = [key for key in self._catalogue.entries if key.name == name and self._catalogue.wants(name)]
        if not versions and not self.versions(name):
            names = ", ".join(sorted({key.name for key in self._loader.served})) or "none"
            return ModelNotFound(f"There is no model {name[:100]!r}. There is: {names}.")
        if version is not None and ModelKey(name, version) not in versions:
            known = ", ".join(self.versions(name)) or "none"
            detail = f"Model {name} has no version {version[:100]!r}. It has: {known}."
            return VersionNotFound(detail)
        asked = f"Model {name}" if version is None else f"Version {version} of model {name}"
        if (
            self._loader.loading is not None
            and self._loader.loading.name == name
            and version in (None, self._loader.loading.version)
        ):
            return ModelUnavailable(f"{asked} is loading.")
        key = max(versions, key=lambda key: key.order) if version is None else ModelKey(name, version)
        return ModelUnavailable(f"{asked} is not loaded. {self._status(key).reason}")
