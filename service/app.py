"""Wire settings, engine, routes and what observes them into an application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from service.auth.keys import KeyRing
from service.auth.rate_limit import RateLimits
from service.engine import Engine
from service.http import operations, problems
from service.http.middleware.access_log import AccessLogMiddleware
from service.http.middleware.authentication import PUBLIC, AuthenticationMiddleware
from service.http.middleware.body_limits import BodyLimitMiddleware
from service.http.middleware.head_requests import HeadMiddleware
from service.http.middleware.path_prefix import PathPrefixMiddleware
from service.http.middleware.security_headers import SecurityHeadersMiddleware
from service.http.middleware.trusted_host import TrustedHostMiddleware, is_loopback
from service.http.openapi import describe, operation_id
from service.http.pages import page_routes
from service.http.process_stats import take_snapshot
from service.http.v1 import classify, embed, explain, models
from service.http.v1.bare_routes import bare_routes
from service.http.v1.memories import examples, recall, whole
from service.http.v1.memories.access import REVISION_HEADER
from service.http.v2 import repository
from service.http.v2 import routes as inference_v2
from service.http.v2.statistics import Statistics
from service.images.memory import BODY_SHARE, memory_limit
from service.memories.memories import Memories
from service.memories.taught_model import TaughtModels
from service.models.replication import ModelReplication
from service.observability.events import Observers
from service.observability.metrics import Metrics
from service.observability.request_context import RecordKeeper
from service.observability.tracing import NO_TELEMETRY, Tracing, tracing_from_environment
from service.processes.peers import Answer, PeerAddress, Peers
from service.settings import Settings, load_settings

DESCRIPTION = """\
Classifies images. Send a JPEG, PNG or WebP file as the body of a request, or several as a form. \
Under /v2 the service speaks the Open Inference Protocol. \
Every error is an RFC 9457 problem document (application/problem+json), under /v2 {"error": …}."""


def create_app(
    settings: Settings | None = None,
    on_loaded: Callable[[Engine], None] | None = None,
    *,
    address: PeerAddress | None = None,
    load_first: bool = False,
    tracing: Tracing | None = None,
) -> FastAPI:
    """Build the application; its model is loaded when it is started.

    Args:
        settings: None reads them from the environment.
        on_loaded: Called on the event loop when loading has ended, well or not.
        address: Of this process among those of the server, if there are several.
        load_first: Whether starting ends only when loading has: nothing comes before.
        tracing: Where spans go; None is where the environment says, if it does.

    Raises:
        SettingsError: A setting in the environment is not usable.
    """
    settings = settings or load_settings()
    keys = KeyRing.of(settings)
    tracing = tracing or tracing_from_environment(_version())
    metrics, statistics = Metrics(address.metrics if address else None), Statistics()
    observers = [RecordKeeper(), metrics, statistics, *([tracing] if tracing else [])]
    engine = Engine(settings, on_loaded, Observers(*observers))
    peers, rates = Peers(address), RateLimits(address.folder if address else None)
    replication = ModelReplication(engine.models, peers)
    engine.models.idleness.ask_others(replication.others_idle)
    memories = Memories(settings, engine)
    taught = TaughtModels(memories)
    engine.models.extend(taught)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await peers.listen(_answers(engine, metrics, statistics, peers, replication))
        await replication.follow()
        taught.start()
        loading = asyncio.create_task(engine.load())
        try:
            while load_first and not loading.done() and not engine.draining:
                await asyncio.wait([loading], timeout=0.1)
            yield
        finally:
            loading.cancel()
            await asyncio.wait([loading])
            await taught.close()
            await engine.close()
            memories.close()
            await peers.close()
            rates.close()
            if tracing:
                await asyncio.to_thread(tracing.close)

    app = FastAPI(
        title="AiT",
        version=_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        routes=[*bare_routes(classify.router), *bare_routes(recall.router), *page_routes()],
        docs_url=None,  # FastAPI's page loads its scripts from another host
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=operation_id,
        telemetry=tracing.fastapi_options if tracing else NO_TELEMETRY,  # type: ignore[arg-type]
    )
    app.state.engine = engine
    app.state.statistics = statistics
    app.state.metrics = metrics
    app.state.keys = keys
    app.state.peers = peers
    app.state.replication = replication
    app.state.memories = memories
    app.state.teaching_open = is_loopback(settings.host)
    memory_routes = (whole, recall, examples)
    for module in (classify, explain, embed, models, *memory_routes, inference_v2, repository, operations):
        app.include_router(module.router)
    problems.install(app)
    # The last one is the outermost.
    app.add_middleware(HeadMiddleware)
    app.add_middleware(
        AuthenticationMiddleware,
        keys=keys,
        rates=rates,
        observer=engine.observer,
        metrics_public=settings.metrics_public,
    )
    app.add_middleware(
        BodyLimitMiddleware,
        max_bytes=min(settings.max_held_bytes, int(memory_limit() * BODY_SHARE / settings.workers)),
        seconds=settings.deadline_seconds,
        stopping=lambda: engine.draining,
    )
    if origins := [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=origins,
            allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After", "ETag", REVISION_HEADER],
        )
    if is_loopback(settings.host):
        app.add_middleware(TrustedHostMiddleware, names=settings.allowed_hosts.split(","))
    app.add_middleware(SecurityHeadersMiddleware)
    app.add_middleware(
        AccessLogMiddleware, metrics=metrics, routes=app.routes, access_log=settings.access_log, tracing=tracing
    )
    app.add_middleware(PathPrefixMiddleware, prefix=settings.root_path)
    app.openapi = partial(describe, app, PUBLIC, keys.required)  # type: ignore[method-assign]
    return app


def _answers(
    engine: Engine, metrics: Metrics, statistics: Statistics, peers: Peers, replication: ModelReplication
) -> dict[str, Answer]:
    """List what the other processes of the server may ask this one."""

    async def snapshot() -> dict[str, Any]:
        return take_snapshot(engine, worker=peers.number, in_progress=metrics.in_progress)

    async def export_statistics() -> list[Any]:
        return statistics.export()

    return {
        "snapshot": snapshot,
        "statistics": export_statistics,
        "load": replication.here_load,
        "unload": replication.here_unload,
        "leave_out": replication.here_leave_out,
        "left_out": replication.here_left_out,
        "idle": replication.here_idle,
    }


def _version() -> str:
    try:
        return version("associative-transformer")
    except PackageNotFoundError:  # run from a source tree
        return "0"
