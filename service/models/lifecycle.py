"""Keep what is in memory in line with what is on disk, without ever taking down what answers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from service.model_process.launcher import Launcher
from service.models.idleness import Idleness
from service.models.served_model import ServedModel
from service.observability.events import Observer
from service.repository.catalogue import Catalogue, Entry
from service.repository.folders import ModelError, ModelKey, fingerprint, read_serving
from service.settings import Settings

logger = logging.getLogger(__name__)


class Loader:
    """Load, replace and end models.

    Attributes:
        served: The versions that answer.
        loading: The version that is being loaded; None if there is none.
        failure: Why loading failed the last time that it did.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        settings: Settings,
        observer: Observer,
        launcher: Launcher,
        idleness: Idleness,
        on_change: Callable[[], None],
    ) -> None:
        """Prepare to load; `on_change` is called after every change of `served`."""
        self.served: dict[ModelKey, ServedModel] = {}
        self.loading: ModelKey | None = None
        self.failure: ModelError | None = None
        self._catalogue, self._settings, self._observer = catalogue, settings, observer
        self._launcher, self._idleness, self._on_change = launcher, idleness, on_change
        self._ending: dict[asyncio.Task[None], tuple[ModelKey, ServedModel]] = {}
        self._changing = asyncio.Lock()  # one change at a time: loading takes memory

    @property
    def ending(self) -> set[ModelKey]:
        """Versions that finish what they began."""
        return {key for key, _ in self._ending.values()}

    async def watch(self) -> None:
        """Look for changes on disk again and again."""
        while True:
            await asyncio.sleep(self._settings.reload_seconds)
            try:
                await self.apply(settled_only=True)
            except OSError as error:
                logger.error("AIT_MODELS cannot be looked through, what is loaded stays: %s", error)
            except Exception:
                logger.exception("looking for changed models failed")

    async def apply(self, *, only: str | None = None, settled_only: bool = False) -> None:
        """Load what should be served and is not, replace what has changed, and end what should not be.

        Args:
            only: The name of one model; the others are left as they are.
            settled_only: Leaves out what has changed since the last look: it may be half copied.

        Raises:
            ModelError, OSError: As `Catalogue.look`. A version that cannot be loaded has the reason in its entry.
        """
        catalogue, limit = self._catalogue, self._settings.max_models
        async with self._changing:
            await asyncio.to_thread(catalogue.look)
            for key in [key for key in self.served if key not in catalogue.entries]:
                if not settled_only or catalogue.is_gone(key):
                    self.retire(key)
            kept = {key for key in self.served if self._stays(key) or only not in (None, key.name)}
            for key in catalogue.order():
                if only not in (None, key.name):
                    continue
                entry = catalogue.entries[key]
                if catalogue.enough(key, kept):
                    entry.reason = "Only so many of the highest versions are served, by serving.json."
                elif len(kept) >= limit:
                    entry.reason = f"AIT_MAX_MODELS={limit} models are loaded."
                elif await self._ensure(key, entry, settled_only):
                    kept.add(key)
            for key in self.served.keys() - kept:
                self.retire(key)

    def retire(self, key: ModelKey) -> None:
        """Take a version out of service: it is not found from here on, and ends when it has finished."""
        if entry := self._catalogue.entries.get(key):
            entry.loaded = None
        self._end(key, self.served.pop(key))
        self._on_change()

    async def close(self) -> None:
        """End all; return when they have finished."""
        for key in list(self.served):
            self.retire(key)
        await asyncio.gather(*self._ending, return_exceptions=True)

    def kill(self) -> None:
        """End at once what does not finish."""
        for key, model in self._ending.values():
            logger.error("model %s version %s does not finish and is killed", *key)
            model.kill()

    def _stays(self, key: ModelKey) -> bool:
        """Find out whether a version answers on whatever is on disk: it is missing, or cannot be looked at."""
        entry = self._catalogue.entries.get(key)
        return entry is None or bool(entry.refused)

    async def _ensure(self, key: ModelKey, entry: Entry, settled_only: bool) -> bool:
        """Load a version's files if these are new; return whether it answers."""
        if entry.files == entry.loaded:
            entry.reason = ""
        elif entry.stale and (entry.settled or not settled_only):
            await self._load(key, entry)
        return key in self.served

    async def _load(self, key: ModelKey, entry: Entry) -> None:
        self.loading = key
        try:
            folder = await asyncio.to_thread(self._catalogue.read, key)
            serving = await asyncio.to_thread(read_serving, folder.path)
            model = await ServedModel.load(
                folder, self._launcher, self._settings, serving, self._observer, self._idleness
            )
            if not await asyncio.to_thread(_unchanged, entry):
                await model.close()
                raise ModelError(f"{folder.path} changed while it was loaded. It is tried again.")
            if not self._catalogue.wants(key.name):  # unloaded meanwhile
                await model.close()
                return
        except (ModelError, OSError) as error:
            entry.failed, entry.reason = entry.files, self._catalogue.relative(str(error))
            self.failure = ModelError(str(error))
            logger.error("model %s version %s: %s", *key, error)
            return
        except Exception as error:  # whatever one model's files bring about must not keep the others out
            entry.failed = entry.files
            entry.reason = f"It cannot be loaded ({type(error).__name__}); the cause is in the server's log."
            self.failure = ModelError(f"{entry.path} cannot be loaded: {type(error).__name__}: {error}")
            logger.exception("model %s version %s cannot be loaded", *key)
            return
        finally:
            self.loading = None
        if old := self.served.get(key):
            self._end(key, old)
        self.served[key] = model
        entry.loaded, entry.failed, entry.reason = entry.files, None, ""
        self._on_change()

    def _end(self, key: ModelKey, model: ServedModel) -> None:
        """End a model when it has finished what it began."""
        task = asyncio.create_task(model.retire())
        self._ending[task] = key, model
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        key, _ = self._ending.pop(task)
        if not task.cancelled() and (error := task.exception()):
            logger.error("ending model %s version %s failed", *key, exc_info=error)


def _unchanged(entry: Entry) -> bool:
    """Find out whether the files of a version are still those of the last look; what has gone is not."""
    try:
        return fingerprint(entry.path) == entry.files
    except OSError:
        return False
