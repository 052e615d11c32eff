"""Keep a model's process alive: restart it when it dies, and end it when it does not answer."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import numpy as np

from service.model_process.client import ModelProcess, ProcessEnded, Reply
from service.model_process.launcher import Launcher
from service.processes.restart import keep_running
from service.repository.folders import ModelError

logger = logging.getLogger(__name__)


class SupervisedProcess:
    """A `ModelProcess` that is replaced when it ends.

    Attributes:
        description: What the process said of the model.
    """

    def __init__(
        self,
        launcher: Launcher,
        spec: dict[str, Any],
        *,
        load_seconds: float,
        stuck_seconds: float,
        on_ended: Callable[[], None],
        on_loaded: Callable[[float, ModelError | None], None],
        loading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Prepare to start the process.

        Args:
            launcher: Starts the processes.
            spec: What `service.model_process.main` is to load.
            load_seconds: Time after which loading is given up.
            stuck_seconds: Time after which a call is given up, and the process with it; as much for each call that
                it may have to wait for.
            on_ended: Called when the process has died.
            on_loaded: Called when an attempt to load has ended, with its seconds, and why it failed if it did.
            loading: Makes a context in which every attempt is made.
        """
        self._launcher, self._spec = launcher, spec
        self._load_seconds, self._stuck_seconds = load_seconds, stuck_seconds
        self._on_ended, self._on_loaded, self._loading = on_ended, on_loaded, loading
        self._process: ModelProcess | None = None
        self._calls = 0  # that the process has not answered
        self._next: asyncio.Future[ModelProcess] = asyncio.get_running_loop().create_future()
        self._supervision: asyncio.Task[None] | None = None
        self.description: dict[str, Any] = {}

    @property
    def up(self) -> bool:
        """True while the process is there."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Its id; None while it is not there."""
        return self._process.pid if self._process else None

    async def start(self) -> None:
        """Load the model and keep it loaded from here on.

        Raises:
            ModelError: It cannot be loaded.
        """
        process = await self._load()
        self.description = process.description
        # It outlives the request that had the model loaded, and must not log as that request.
        self._supervision = asyncio.create_task(self._supervise(process), context=contextvars.Context())

    async def call(self, operation: str, inputs: Sequence[np.ndarray], **options: Any) -> Reply:
        """Have the model do something; while the process is being restarted, wait for it.

        Raises:
            ProcessEnded: It ended meanwhile, was taken for hung, or cannot be restarted.
            OperationFailed: The model could not do it.
        """
        process = self._process
        if process is None:
            process = await asyncio.shield(self._next)
        self._calls += 1
        # A batch is handed ahead, and explanations come between: what waits for others has not begun.
        seconds = self._stuck_seconds * self._calls
        try:
            async with asyncio.timeout(seconds):
                return await process.call(operation, inputs, **options)
        except TimeoutError:
            logger.error("%s has not answered for %g s", self._title, seconds)
            process.kill()
            raise ProcessEnded("did not answer, and was ended") from None
        finally:
            self._calls -= 1

    def kill(self) -> None:
        """End the process at once and start no other; calls fail."""
        if self._supervision:
            self._supervision.cancel()
        if self._process:
            self._process.kill()
        elif not self._next.done():
            self._fail_waiting("was being restarted, and was ended")

    async def close(self) -> None:
        """Let the process end, and wait until it has."""
        if self._supervision:
            self._supervision.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervision
        if not self._next.done():
            self._next.cancel()
        if self._process:
            process, self._process = self._process, None
            await process.close()

    async def _supervise(self, first: ModelProcess) -> None:
        """Have a process answer for as long as it lives, then the next one."""
        loaded: ModelProcess | None = first

        async def live() -> float:
            nonlocal loaded
            process, loaded = loaded or await self._try_to_load(), None
            return await self._answer_with(process) if process else 0.0

        await keep_running(live)

    async def _answer_with(self, process: ModelProcess) -> float:
        """Give calls to a process until it ends; returns the seconds that it has lived."""
        self._process = process
        if not self._next.done():
            self._next.set_result(process)
        began = time.monotonic()
        await process.ended.wait()
        self._process, self._next = None, asyncio.get_running_loop().create_future()
        self._on_ended()
        logger.error("the process of %s %s; it is restarted", self._title, await process.reason())
        return time.monotonic() - began

    async def _try_to_load(self) -> ModelProcess | None:
        """Load the model again; where that fails, calls that wait for it fail."""
        try:
            return await self._load()
        except ModelError as error:
            logger.error("%s cannot be restarted: %s", self._title, error)
            self._fail_waiting("ended, and cannot be restarted")
            self._next = asyncio.get_running_loop().create_future()
            return None

    def _fail_waiting(self, reason: str) -> None:
        """Fail the calls that wait for the next process."""
        self._next.set_exception(ProcessEnded(reason))
        self._next.exception()  # nobody may be waiting

    async def _load(self) -> ModelProcess:
        start = time.monotonic()
        try:
            with self._loading():
                async with asyncio.timeout(self._load_seconds):
                    process = await ModelProcess.start(self._launcher, **self._spec)
        except (ModelError, OSError) as error:
            failure = error if isinstance(error, ModelError) else self._not_started(error)
            self._on_loaded(time.monotonic() - start, failure)
            raise failure from None
        self._on_loaded(time.monotonic() - start, None)
        return process

    def _not_started(self, error: OSError) -> ModelError:
        if not isinstance(error, TimeoutError):  # such as too many open files, which need not last
            return ModelError(f"A process for the model in {self._spec['path']} cannot be started: {error}.")
        return ModelError(
            f"The model in {self._spec['path']} was not loaded in {self._load_seconds:g} s. Give it more time with "
            "AIT_LOAD_SECONDS, or choose a smaller model."
        )

    @property
    def _title(self) -> str:
        return f"model {self._spec['name']} version {self._spec['version']}"
