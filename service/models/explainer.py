"""A second process, with the model in torch, that explains what the first one answers."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from contextlib import suppress

from service.errors import ModelUnavailable
from service.model_process.supervised import SupervisedProcess
from service.models.idleness import Idleness
from service.repository.folders import ModelError

logger = logging.getLogger(__name__)


class Explainer:
    """Loads the model in torch when the server is idle, or when an explanation is asked for.

    It takes a processor for seconds, which models that are measured, and who waits for an answer, would feel.

    Attributes:
        explains: Whether there is an explanation; true until loading has shown otherwise.
    """

    def __init__(self, process: SupervisedProcess, idleness: Idleness) -> None:
        """Prepare to start the process; nothing is loaded before the server's first idle moment."""
        self.explains = True
        self._process, self._idleness = process, idleness
        self._now = asyncio.Event()
        # It outlives the request that had the model loaded, and must not log as that request.
        self._loading = asyncio.create_task(self._load(), context=contextvars.Context())

    @property
    def pid(self) -> int | None:
        """Id of the process; None while it is not there."""
        return self._process.pid

    async def process(self) -> SupervisedProcess:
        """Get the process that explains, once it has loaded the model.

        Raises:
            ModelUnavailable: It cannot be loaded.
        """
        self._now.set()
        await asyncio.shield(self._loading)
        if not self.explains:
            raise ModelUnavailable("The model cannot be explained; the cause is in the server's log.")
        return self._process

    def kill(self) -> None:
        """End the process at once, for good."""
        self._loading.cancel()
        self._process.kill()

    async def close(self) -> None:
        """Let the process end, or not begin."""
        self._loading.cancel()
        with suppress(asyncio.CancelledError):
            await self._loading
        await self._process.close()

    async def _load(self) -> None:
        idle, asked = asyncio.create_task(self._idleness.wait()), asyncio.create_task(self._now.wait())
        try:
            await asyncio.wait([idle, asked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            idle.cancel()
            asked.cancel()
        try:
            await self._process.start()
        except ModelError as error:
            logger.error("answers cannot be explained: %s", error)
            self.explains = False
        else:
            self.explains = bool(self._process.description["explains"])
