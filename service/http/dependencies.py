"""HTTP routes; each module has one `router`."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Request

from service.engine import Engine


async def get_engine(request: Request) -> Engine:
    """The engine of the application that a request came to."""  # async: FastAPI runs others on a thread
    engine: Engine = request.app.state.engine
    return engine


EngineDep = Annotated[Engine, Depends(get_engine)]
ModelName = Annotated[str, Path(description="Name of a model, as listed at /v1/models.")]
Version = Annotated[str, Path(description="A version of the model.")]
