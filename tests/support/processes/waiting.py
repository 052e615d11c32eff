"""Waiting for conditions rather than for times: as short as it can be, and as long as a busy machine needs."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest

# No test is about this length: it only ends tests whose condition will never hold.
CEILING = 300.0


def wait_for(condition: Callable[[], object], what: str = "the condition above") -> None:
    """Return once a condition holds.

    Args:
        condition: asked again and again, every 20 ms.
        what: completes "waited for ..." in the message when it never holds, below the line that waited.
    """
    end = time.monotonic() + CEILING
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited for {what}, which did not happen in {CEILING:g} s")
        time.sleep(0.02)


async def until(condition: Callable[[], object], what: str = "the condition above") -> None:
    """Return once a condition holds; other tasks run meanwhile."""
    end = time.monotonic() + CEILING
    while not condition():
        if time.monotonic() > end:
            pytest.fail(f"waited for {what}, which did not happen in {CEILING:g} s")
        await asyncio.sleep(0.01)


def wait_for_event(event: threading.Event, what: str) -> None:
    """Return once an event is set."""
    if not event.wait(CEILING):
        pytest.fail(f"waited for {what}, which did not happen in {CEILING:g} s")
