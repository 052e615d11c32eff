"""What routes take from the application and from the request's headers."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated

from fastapi import Depends, Path, Request

from service.engine import Engine
from service.http.problems import Problem

TIMEOUT_HEADER = "X-Request-Timeout"


def engine_of(request: Request) -> Engine:
    """Get the engine of the application that a request came to."""
    engine: Engine = request.app.state.engine
    return engine


def asked_deadline(request: Request, engine: Engine) -> float:
    """Compute the `loop.time()` until which a request that came just now may take, by its header and the settings.

    Raises:
        Problem: 400 for a header that is not a positive number of seconds.
    """
    asked = request.headers.get(TIMEOUT_HEADER)
    return engine.deadline(None if asked is None else _seconds(asked))


def own_deadline(request: Request) -> float | None:
    """Compute the `loop.time()` until which the client of a request that came just now waits; None if it says nothing.

    For what may take longer than the settings give a request.

    Raises:
        Problem: As `asked_deadline`.
    """
    asked = request.headers.get(TIMEOUT_HEADER)
    return None if asked is None else asyncio.get_running_loop().time() + _seconds(asked)


async def _get_engine(request: Request) -> Engine:  # async: FastAPI runs others on a thread
    return engine_of(request)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        detail = f"{TIMEOUT_HEADER} is a number of seconds above 0, such as 2.5."
        raise Problem(400, "invalid-parameter", detail)
    return seconds


EngineDep = Annotated[Engine, Depends(_get_engine)]
ModelName = Annotated[str, Path(description="Name of a model, as listed at /v1/models.")]
Version = Annotated[str, Path(description="A version of the model.")]
