"""Start again what ends, with pauses that grow where it ends soon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0  # seconds before something is started again


async def keep_running(run: Callable[[], Awaitable[float | None]], stopping: asyncio.Event | None = None) -> None:
    """Run something again and again.

    The pause in between doubles from one time to the next. It is the first one again after something that has
    worked for longer than the longest pause.

    Args:
        run: Starts it and waits for its end; returns the seconds that it has worked, or None if it is not to be
            started again.
        stopping: Ends the pause, and nothing is started again; None is never.
    """
    stopping = stopping or asyncio.Event()
    pause = FIRST_PAUSE
    while (seconds := await run()) is not None:
        if seconds > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)
        if stopping.is_set():
            return
        pause = min(2 * pause, LONGEST_PAUSE)
