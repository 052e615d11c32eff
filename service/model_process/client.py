"""Start a model's process, ask it, and notice at once that it has ended."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from service.model_process import messages
from service.model_process.launcher import Launcher
from service.model_process.messages import Message
from service.model_process.mixed_batch import split
from service.repository.folders import ModelError

END_SECONDS = 5.0  # time that a process gets to end by itself


class ProcessEnded(Exception):
    """The process ended before it had answered; the message says how."""


class OperationFailed(Exception):
    """The model could not do what it was asked; the cause is in the log."""


@dataclass(frozen=True)
class Reply:
    """Results of an operation, by name: arrays, and what JSON can say; and the seconds that it took."""

    arrays: dict[str, np.ndarray]
    values: dict[str, Any]
    seconds: float


class ModelProcess(asyncio.Protocol):
    """A process with one loaded model. Calls are answered in the order in which they were made.

    Attributes:
        description: What the process says of the model: `labels`, `data_config`, `num_features`.
        ended: Becomes true when the process is gone.
    """

    def __init__(self, launcher: Launcher) -> None:
        """Prepare for the process that the launcher starts; `start` does all of it."""
        self._launcher = launcher
        self._decoder = messages.Decoder()
        self._calls: dict[int, asyncio.Future[Reply]] = {}
        self._last_call = 0
        self._transport: asyncio.WriteTransport | None = None
        self._exit_code: asyncio.Future[int] | None = None
        self.description: dict[str, Any] = {}
        self.pid: int | None = None
        self.ended = asyncio.Event()

    @classmethod
    async def start(cls, launcher: Launcher, **spec: Any) -> ModelProcess:
        """Start a process and wait until it has loaded a model and is warm; cancelling ends it.

        Args:
            launcher: Starts it.
            spec: What `service.model_process.main` is to load.

        Raises:
            ModelError: The model cannot be loaded.
        """
        process = await cls._fork(launcher)
        try:
            try:
                process.description = (await process.call("load", **spec)).values
            except ProcessEnded:
                if process.pid is not None:
                    raise
                # Whoever was to fork it has ended first; another one will.
                process = await cls._fork(launcher)
                process.description = (await process.call("load", **spec)).values
        except (OperationFailed, ProcessEnded) as error:
            await process.close()
            if isinstance(error, OperationFailed):
                raise ModelError(str(error)) from None
            raise ModelError(f"The process that loaded {spec['path']} {error}.") from None
        except BaseException:
            process.kill()
            raise
        return process

    @classmethod
    async def _fork(cls, launcher: Launcher) -> ModelProcess:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            launcher.fork(theirs)
        _, process = await asyncio.get_running_loop().create_unix_connection(lambda: cls(launcher), sock=ours)
        return process

    async def call(self, operation: str, inputs: Sequence[np.ndarray] = (), **options: Any) -> Reply:
        """Have the model do something.

        Args:
            operation: One of `service.model_process.main.OPERATIONS`.
            inputs: Arrays of one shape, each uint8 (a cropped image) or float32 (normalised pixels).
            options: What JSON can say.

        Raises:
            ProcessEnded, OperationFailed: As named.
        """
        if self._transport is None or self._transport.is_closing():
            raise ProcessEnded("has ended")
        self._last_call += 1
        number = self._last_call
        batch = split(inputs)
        arrays = {
            name: each for name, each in (("images", batch.images), ("pixels", batch.pixels)) if each is not None
        }
        header = {"id": number, "operation": operation, "pixel_places": batch.pixel_places, "options": options}
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[number] = future
        self._transport.writelines(messages.encode(header, arrays))
        try:
            return await future
        finally:
            del self._calls[number]

    def kill(self) -> None:
        """End the process at once."""
        if self.pid is not None:
            self._launcher.kill(self.pid)
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Let the process end, and wait until it has: its memory is free then."""
        if self._transport is not None:
            self._transport.close()
        await self.ended.wait()
        if self._exit_code is not None and self.pid is not None:
            done, _ = await asyncio.wait([self._exit_code], timeout=END_SECONDS)
            if not done or self._exit_code.cancelled():
                self._launcher.kill(self.pid)

    async def reason(self) -> str:
        """Say how the process ended, once it has: a predicate, such as "was killed by SIGKILL"."""
        if self._exit_code is None:
            return "ended before it had begun"
        done, _ = await asyncio.wait([self._exit_code], timeout=END_SECONDS)
        if not done or self._exit_code.cancelled():
            return "closed its connection"
        code = self._exit_code.result()
        return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the connection to the process."""
        self._transport = cast(asyncio.WriteTransport, transport)

    def data_received(self, data: bytes) -> None:
        """Take the process's answers."""
        for message in self._decoder.feed(data):
            self._take(message)

    def _take(self, message: Message) -> None:
        header = message.header
        if "pid" in header:
            self.pid = header["pid"]
            self._exit_code = self._launcher.exit_code(header["pid"])
            return
        future = self._calls.get(header["id"])
        if future is None or future.done():
            return  # whoever asked has left
        if "error" in header:
            future.set_exception(OperationFailed(header["error"]))
        else:
            future.set_result(Reply(message.arrays, header["values"], header["seconds"]))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the calls that have no answer: the process has ended."""
        self.ended.set()
        for future in self._calls.values():
            if not future.done():
                future.set_exception(ProcessEnded("ended"))
