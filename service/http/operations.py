"""Answer the routes of health and metrics."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from service.http.dependencies import EngineDep
from service.http.problems import documented
from service.http.process_stats import take_snapshot
from service.observability.metrics import CONTENT_TYPE

router = APIRouter(tags=["operations"])

_ASK_SECONDS = 1.0  # for the other processes of the server to say how they are


class Live(BaseModel):
    """The process runs."""

    live: bool = True


class Ready(BaseModel):
    """Requests are answered."""

    ready: bool = True


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def live() -> Live:
    """Say whether the process runs."""
    return Live()


@router.head("/health/ready", include_in_schema=False)
@router.get("/health/ready", responses=documented(503))
async def ready(engine: EngineDep) -> Ready:
    """Say whether requests are answered: 503 until the model is loaded and warm, and while the server stops."""
    engine.check_ready()
    return Ready()


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **documented()},
)
async def metrics(request: Request, engine: EngineDep) -> Response:
    """Give metrics of all processes of the server, in Prometheus' text format."""
    state = request.app.state
    here = take_snapshot(engine, worker=state.peers.number, in_progress=state.metrics.in_progress)
    snapshots = [here, *await state.peers.ask("snapshot", seconds=_ASK_SECONDS)]
    body = await asyncio.to_thread(state.metrics.exposition, snapshots)
    return Response(body, headers={"Content-Type": CONTENT_TYPE})
