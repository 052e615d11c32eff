"""Drop work that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await the work, but cancel it as soon as the client leaves; the body must have been read.

    Raises:
        ClientDisconnect: The client left first.
    """
    task = asyncio.current_task()
    assert task is not None
    watcher = asyncio.create_task(_cancel_when_gone(request, task))
    try:
        return await work
    except asyncio.CancelledError:
        # The watcher runs only while this task waits for the work, so its cancellation always arrives here.
        if watcher.done() and not watcher.cancelled() and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        watcher.cancel()


async def _cancel_when_gone(request: Request, task: asyncio.Task[Any]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    task.cancel()
