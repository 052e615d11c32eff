"""Ask the other processes of a server: each listens on a Unix socket in a folder that they share."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from service.errors import ServiceError, describe, rebuild

logger = logging.getLogger(__name__)

Answer = Callable[..., Awaitable[Any]]

_MOST_BYTES = 16 * 1024 * 1024  # of a message


@dataclass(frozen=True)
class PeerAddress:
    """One process of a server, among those of the same server.

    Attributes:
        folder: What they share.
        number: Its own, from 0.
        count: Of all.
    """

    folder: Path
    number: int
    count: int

    @property
    def metrics(self) -> Path:
        """Folder of the metrics of all."""
        return self.folder / "metrics"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / f"{self.number}.sock"

    @property
    def others(self) -> list[PeerAddress]:
        """The addresses of the others."""
        return [PeerAddress(self.folder, number, self.count) for number in range(self.count) if number != self.number]


class Contact(Enum):
    """What came of asking a process of a server whether it is alive."""

    ANSWERED = "answered"
    ABSENT = "absent"  # nobody listens
    SILENT = "silent"


async def contact(address: PeerAddress, seconds: float) -> Contact:
    """Ask a process whether it is alive, and wait so long for the answer."""
    try:
        async with asyncio.timeout(seconds):
            return Contact.ANSWERED if await _exchange(address, _message("alive")) else Contact.ABSENT
    except TimeoutError:
        return Contact.SILENT
    except OSError:
        return Contact.ABSENT


class Peers:
    """The other processes of this server; there are none where this one has no address."""

    def __init__(self, address: PeerAddress | None = None) -> None:
        """Take the address of this process; None is that of a server of one process."""
        self.address = address
        self._answers: Mapping[str, Answer] = {}
        self._server: asyncio.Server | None = None

    @property
    def number(self) -> int:
        """Of this process, from 0."""
        return self.address.number if self.address else 0

    async def listen(self, answers: Mapping[str, Answer]) -> None:
        """Answer what the others ask, from here on: each question by name, its arguments by keyword."""
        self._answers = {"alive": _yes, **answers}
        if self.address:
            self.address.socket.unlink(missing_ok=True)  # of a process that died
            self._server = await asyncio.start_unix_server(self._serve, self.address.socket, limit=_MOST_BYTES)

    async def ask(self, question: str, *, seconds: float | None = None, **arguments: Any) -> list[Any]:
        """Ask all others at once.

        Args:
            question: One of the names that they answer.
            seconds: How long to wait for answers; None is as long as the processes live.
            arguments: What JSON can say.

        Returns:
            Their answers; who is not there, or does not answer in time, is left out.

        Raises:
            ServiceError: What one of them raised.
        """
        if self.address is None:
            return []
        message = _message(question, **arguments)
        asked = [_ask(each, message, seconds) for each in self.address.others]
        replies = [json.loads(reply) for reply in await asyncio.gather(*asked) if reply]
        for reply in replies:
            if "error" in reply:
                raise rebuild(reply["error"])
        return [reply["answer"] for reply in replies if "answer" in reply]

    async def close(self) -> None:
        """Answer nothing more."""
        if self._server and self.address:
            self._server.close()
            self.address.socket.unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            message = json.loads(await reader.readline())
            writer.write(json.dumps(await self._answer(message)).encode() + b"\n")
            await writer.drain()
        except (OSError, ValueError) as error:
            logger.warning("another process of this server left before it had its answer: %s", error)
        except asyncio.CancelledError:
            return  # this process ends; asyncio's streams would log the cancelled task as an error
        finally:
            writer.close()

    async def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        try:
            return {"answer": await self._answers[message["question"]](**message["arguments"])}
        except ServiceError as error:
            return {"error": describe(error)}
        except Exception:
            logger.exception("the question %s of another process of this server failed", message["question"])
            return {}


def _message(question: str, **arguments: Any) -> bytes:
    return json.dumps({"question": question, "arguments": arguments}).encode() + b"\n"


async def _ask(other: PeerAddress, message: bytes, seconds: float | None) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await _exchange(other, message)
    except (OSError, TimeoutError, ValueError):  # a line that is too long is a ValueError
        return b""


async def _exchange(other: PeerAddress, message: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(other.socket, limit=_MOST_BYTES)
    try:
        writer.write(message)
        line = await reader.readline()
        return line if line.endswith(b"\n") else b""  # of one that ended while it answered
    finally:
        writer.close()


async def _yes() -> bool:
    return True
