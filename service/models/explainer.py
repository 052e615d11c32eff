"""A second process, with the model in torch, that explains what the first one answers."""

from __future__ import annotations

import asyncio
import contextvars
import logging
from contextlib import suppress

from service.errors import ModelUnavailable
from service.model_process.supervised import SupervisedProcess
from service.repository.folders import ModelError

logger = logging.getLogger(__name__)

IDLE_SECONDS = 3.0  # without a batch, after which torch is loaded: it takes a processor for seconds


class Explainer:
    """Loads the model in torch when the server is idle, or when an explanation is asked for.

    Attributes:
        explains: Whether there is an explanation; true until loading has shown otherwise.
    """

    def __init__(self, process: SupervisedProcess) -> None:
        """Prepare to start the process; nothing is loaded before the first idle moment."""
        self.explains = True
        self._process = process
        self._now = asyncio.Event()
        self._used = False
        # It outlives the request that had the model loaded, and must not log as that request.
        self._loading = asyncio.create_task(self._load(), context=contextvars.Context())

    @property
    def pid(self) -> int | None:
        """Id of the process; None while it is not there."""
        return self._process.pid

    def postpone(self) -> None:
        """Note that a batch is run: the server is not idle."""
        self._used = True

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

    async def close(self) -> None:
        """Let the process end, or not begin."""
        self._loading.cancel()
        with suppress(asyncio.CancelledError):
            await self._loading
        await self._process.close()

    async def _load(self) -> None:
        while not self._now.is_set():
            self._used = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._now.wait(), IDLE_SECONDS)
            if not self._used:
                break
        try:
            await self._process.start()
        except ModelError as error:
            logger.error("answers cannot be explained: %s", error)
            self.explains = False
        else:
            self.explains = bool(self._process.description["explains"])
