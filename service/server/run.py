"""Run one server process: bind the port, run uvicorn, stop cleanly."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from service.app import create_app
from service.auth.keys import KeyRing
from service.engine import Engine
from service.errors import SettingsError
from service.http.connections import ConnectionLimits, bounded_protocol
from service.http.middleware.trusted_host import is_loopback
from service.memories.stores.opening import check_place
from service.observability.logs import configure_logging
from service.processes.addresses import url_of
from service.processes.machine import freeze_garbage_collector, return_freed_memory
from service.processes.peers import PeerAddress
from service.repository.catalogue import Catalogue
from service.repository.folders import ModelError
from service.server.listener import accept_waiting, refuse_new
from service.server.supervisor import supervise
from service.server.tls import tls_context
from service.settings import Settings, load_settings, misspelt_settings

logger = logging.getLogger(__name__)

HANDSHAKE_SECONDS = 0.1  # time that connections get which the kernel has begun to take
LINGER_SECONDS = 1.0  # time that connections get to be closed by their clients
KEEP_ALIVE_SECONDS = 75  # longer than load balancers keep connections, so that they are the ones to close them


def serve(
    host: str | None = None,
    port: int | None = None,
    model: str | None = None,
    models: str | None = None,
    workers: int | None = None,
) -> int:
    """Serve until SIGTERM or SIGINT, then answer what is in flight.

    Writes one line with the URL to stdout when ready, and errors to stderr.

    Args:
        host: Address to listen on; None leaves this and the others to `Settings`.
        port: TCP port.
        model: Checkpoint folder or name of a bundled model; the one that answers by default.
        models: Folder of models, `<model>/<version>/`.
        workers: Server processes.

    Returns:
        Exit code: 0 stopped on request, 1 the model or the port cannot be used, 2 a setting is wrong.
    """
    try:
        settings = load_settings(host=host, port=port, model=model, models=models, workers=workers)
        keys = KeyRing.of(settings)
        tls_context(settings)
        if settings.memories != "off":
            check_place(settings.memories)
    except SettingsError as error:
        return _fail(str(error), 2)
    configure_logging(settings.log_format)
    for line in misspelt_settings():
        logger.warning("%s", line)
    try:
        Catalogue(settings.model, settings.models).look()  # before the port is taken: is there a mistake in a path?
        listener = _bind(settings.host, settings.port)
    except (ModelError, OSError, _BindError) as error:
        return _fail(str(error), 1)
    if not keys.required and not is_loopback(settings.host):
        logger.warning("everybody who reaches %s may ask: there are no API keys (AIT_API_KEYS)", settings.host)
    address, port, *_ = listener.getsockname()
    url = url_of(address, port, "https" if settings.tls_cert else "http")
    if settings.workers > 1:
        return supervise(settings, listener, lambda names: announce(names, url, settings.workers))
    return run(settings, listener, lambda names: announce(names, url))


def run(
    settings: Settings,
    listener: socket.socket,
    on_ready: Callable[[str], None],
    *,
    address: PeerAddress | None = None,
    load_first: bool = False,
) -> int:
    """Serve on a socket until SIGTERM or SIGINT.

    Args:
        settings: Of the application.
        listener: Closed in the end.
        on_ready: Called with the names of the models when they answer.
        address: Of this process among those of the server; such a process leaves SIGINT to its supervisor.
        load_first: Whether connections are taken only once the models are loaded.

    Returns:
        Exit code: 0 stopped on request, 1 the model cannot be used, 2 the certificate cannot.
    """
    try:
        tls = tls_context(settings)
    except SettingsError as error:
        return _fail(str(error), 2)

    def on_loaded(engine: Engine) -> None:
        freeze_garbage_collector()
        if engine.failure:
            server.should_exit = True
        elif not server.should_exit:
            names = dict.fromkeys(each.name for each in engine.models.index() if each.state == "ready")
            on_ready(", ".join(names) or "no model yet")

    return_freed_memory()  # a large image shall not be felt for longer than it takes
    app = create_app(settings, on_loaded, address=address, load_first=load_first)
    engine: Engine = app.state.engine
    server = _Server(
        _uvicorn_config(app, settings, tls),
        engine,
        ignored=[signal.SIGINT] if address else [],
        owns_listener=address is None,  # else the supervisor does, and others go on with it
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    # uvicorn raises a captured signal again once it has stopped; with the default handlers that would turn a
    # clean stop into death by signal. These also cover the moment before uvicorn listens to signals.
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    # A terminal that closes, or who asks for a reload, is no reason to stop; processes that are started inherit it.
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        server.run(sockets=[listener])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return _fail(str(engine.failure), 1) if engine.failure else 0


def announce(names: str, url: str, processes: int = 1) -> None:
    """Say on stdout that requests are answered."""
    several = f" with {processes} processes" if processes > 1 else ""
    print(f"Serving {names} at {url}{several} (Ctrl-C stops)", flush=True)


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, engine: Engine, ignored: list[signal.Signals], *, owns_listener: bool
    ) -> None:
        super().__init__(config)
        self._engine, self._ignored, self._owns_listener = engine, ignored, owns_listener

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if sig in self._ignored:
            return
        self._engine.drain()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let connections end with an answer: a request may be on its way on one that seems idle."""
        if self._owns_listener and sockets:
            for listener in sockets:
                refuse_new(listener)
            await asyncio.sleep(HANDSHAKE_SECONDS)
        waiting = [connection for listener in sockets or [] for connection in accept_waiting(listener)]
        for server in self.servers:
            server.close()
        loop = asyncio.get_running_loop()
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self.server_state.connections:  # noqa: ASYNC110  uvicorn tells nobody when the set changes
                    await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    def _protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


class _BindError(Exception):
    pass


def _uvicorn_config(app: object, settings: Settings, tls: ssl.SSLContext | None) -> uvicorn.Config:
    limits = ConnectionLimits(
        head_bytes=settings.max_head_bytes,
        headers=settings.max_headers,
        head_seconds=settings.head_seconds,
        write_seconds=settings.write_seconds,
        connections=settings.max_connections,
    )
    return uvicorn.Config(
        app,  # type: ignore[arg-type]
        http=bounded_protocol(limits, tls),
        loop="asyncio" if tls else "auto",  # see `bounded_protocol`
        log_config=None,
        access_log=False,  # `service.http.middleware.access_log` writes one
        server_header=False,
        proxy_headers=False,  # nothing here asks who the client is
        ws="none",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=settings.shutdown_seconds,
    )


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        if isinstance(error, socket.gaierror):
            remedy = "Choose an address of this machine with --host or HOST, such as 127.0.0.1."
        elif error.errno == errno.EADDRINUSE:
            remedy = "Stop the program that uses it, or choose another port with --port or PORT."
        elif error.errno == errno.EACCES:
            remedy = "Ports below 1024 need privileges; choose another with --port or PORT."
        else:
            remedy = "Choose another address or port with --host and --port, or HOST and PORT."
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise _BindError(f"Cannot listen on {host} port {port}: {reason}. {remedy}") from error


def _fail(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code
