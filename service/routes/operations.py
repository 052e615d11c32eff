"""Health."""

from __future__ import annotations

from fastapi import APIRouter

from service.problems import documented
from service.routes import EngineDep
from service.schemas import Live, Ready

router = APIRouter(tags=["operations"])


@router.get("/health/live")
async def live() -> Live:
    """Whether the process runs."""
    return Live()


@router.get("/health/ready", responses=documented(503))
async def ready(engine: EngineDep) -> Ready:
    """Whether requests are answered: 503 until the model is loaded and warm, and while the server stops."""
    engine.check_ready()
    return Ready()
