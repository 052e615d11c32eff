"""Drop work that nobody waits for any more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from starlette.requests import ClientDisconnect, Request

T = TypeVar("T")

DEPARTURE: Final = "ait.departure"  # in the state of a request


class Departure:
    """The end of a connection, of which a server tells the request in progress: that costs less than to receive it."""

    def __init__(self) -> None:
        """Begin with a client that is there."""
        self._happened = False
        self._leave: Callable[[], object] | None = None

    def happen(self) -> None:
        """Note that the client has left."""
        self._happened = True
        if self._leave is not None:
            self._leave()

    def call(self, leave: Callable[[], object]) -> Callable[[], object]:
        """Have `leave` called, on the event loop, when the client leaves or if it has left.

        Returns:
            A function after which it is not called any more.
        """
        if self._happened:
            return asyncio.get_running_loop().call_soon(leave).cancel
        self._leave = leave
        return self._forget

    def _forget(self) -> None:
        self._leave = None


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Await the work, but cancel it as soon as the client leaves; the body must have been read.

    Raises:
        ClientDisconnect: The client left first.
    """
    task = asyncio.current_task()
    assert task is not None
    left = False

    def leave() -> None:
        nonlocal left
        left = True
        task.cancel()

    departure: Departure | None = request.scope.get("state", {}).get(DEPARTURE)
    stop = departure.call(leave) if departure else asyncio.create_task(_call_when_gone(request, leave)).cancel
    try:
        return await work
    except asyncio.CancelledError:
        # It is called only while this task waits for the work, so its cancellation always arrives here.
        if left and task.uncancel() == 0:
            raise ClientDisconnect from None
        raise
    finally:
        stop()


async def _call_when_gone(request: Request, leave: Callable[[], object]) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    leave()
