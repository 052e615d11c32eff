"""The check that an image asks of itself, against servers that are ready, starting and absent."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from functools import partial

import pytest
import uvicorn

from service import healthcheck
from service.app import create_app
from service.settings import Settings
from tests.support.processes.waiting import CEILING, wait_for_event


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_follows_a_server_from_start_to_end(
    graph_settings: Settings,
    listener: socket.socket,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    port = listener.getsockname()[1]
    monkeypatch.setenv("HOST", "0.0.0.0")
    monkeypatch.setenv("PORT", str(port))
    monkeypatch.setattr(healthcheck, "check", partial(healthcheck.check, timeout=CEILING))
    loaded = threading.Event()
    app = create_app(graph_settings, lambda _: loaded.set())
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    try:
        wait_for_event(loaded, "the model to be loaded")
        assert healthcheck.main() == 0
        app.state.engine.drain()
        assert healthcheck.main() == 1
        assert "is not ready" in capsys.readouterr().err
    finally:
        server.should_exit = True
        thread.join()
    assert healthcheck.main() == 1
    error = capsys.readouterr().err
    assert f"127.0.0.1 port {port}" in error
    assert "Start it" in error


def test_names_a_setting_that_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PORT", "high")
    assert healthcheck.main() == 2
    assert "PORT" in capsys.readouterr().err


def test_says_so_when_what_answers_is_no_http_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = Settings(_env_file=None, port=silent.getsockname()[1])
        assert "No server answers" in (healthcheck.check(settings, timeout=0.2) or "")
