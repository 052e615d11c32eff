"""The application factory: wires settings, engine and routes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service import problems
from service.engine import Engine
from service.guard import Guard
from service.intake import Intake
from service.routes import classify, models, operations
from service.routes.pages import page_routes
from service.settings import Settings, load_settings

DESCRIPTION = """\
Classifies pictures. Send a JPEG, PNG or WebP file as the body of a request, or several as a form. \
Every error is an RFC 9457 problem document (application/problem+json)."""


def create_app(settings: Settings | None = None, on_loaded: Callable[[Engine], None] | None = None) -> FastAPI:
    """Builds the application; its model is loaded when it is started.

    Args:
        settings: None reads them from the environment.
        on_loaded: called on the event loop when loading has ended, well or not.

    Raises:
        SettingsError: a setting in the environment is not usable.
    """
    engine = Engine(settings or load_settings(), on_loaded)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(engine.load())
        try:
            yield
        finally:
            loading.cancel()
            await asyncio.wait([loading])
            await engine.close()

    app = FastAPI(
        title="AiT",
        version=_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        routes=[*classify.fast_routes(), *page_routes()],
        docs_url=None,  # FastAPI's page loads its scripts from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.engine = engine
    for module in (classify, models, operations):
        app.include_router(module.router)
    problems.install(app)
    app.add_middleware(Intake, max_bytes=engine.settings.max_held_bytes)
    app.add_middleware(Guard)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
        schemas = schema["components"]["schemas"]
        schemas["ProblemDocument"] = problems.ProblemDocument.model_json_schema()
        for operations_at in schema["paths"].values():
            for operation in operations_at.values():
                # FastAPI documents its own validation answer, which `problems` replaces by a 400.
                answer = operation["responses"].get("422")
                if answer and "application/json" in answer.get("content", {}):
                    del operation["responses"]["422"]
        schemas.pop("HTTPValidationError", None)
        schemas.pop("ValidationError", None)
        app.openapi_schema = schema
    return app.openapi_schema


def _version() -> str:
    try:
        return version("associative-transformer")
    except PackageNotFoundError:  # run from a source tree
        return "0"
