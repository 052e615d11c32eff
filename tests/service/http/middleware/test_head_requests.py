"""What can be got can be asked for its head."""

import asyncio
import logging

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.connections import ConnectionLimits
from service.http.middleware.head_requests import HeadMiddleware
from service.settings import Settings
from tests.support.processes.waiting import CEILING
from tests.support.servers.bounded_server import everything, serving


@pytest.mark.parametrize(
    "path", ["/", "/health/ready", "/v2/health/live", "/v1/models", "/v1/models/colours", "/metrics"]
)
def test_the_head_is_that_of_the_answer_without_its_body(client: TestClient, path: str) -> None:
    whole, head = client.get(path), client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-type"] == whole.headers["content-type"]
    assert int(head.headers["content-length"]) > 0


def test_a_head_is_refused_as_its_answer_would_be(client: TestClient) -> None:
    refused = client.head("/v1/models/other")
    assert (refused.status_code, refused.content) == (404, b"")
    assert refused.headers["content-type"] == "application/problem+json"
    assert client.head("/v1/classify").status_code == 405


def test_the_log_says_head(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    with TestClient(create_app(settings, load_first=True)) as client, caplog.at_level(logging.INFO, "service.access"):
        client.head("/v1/models")
    assert caplog.messages == ["HEAD /v1/models 200"]


def test_the_connection_goes_on_after_a_head() -> None:
    """A server counts the bytes of a body, and closes where some are missing, unless it sees that none are due."""

    async def ask() -> bytes:
        async with asyncio.timeout(CEILING), serving(ConnectionLimits(), wrap=HeadMiddleware) as (_, _, address):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"HEAD / HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            answers = await everything(reader)
            writer.close()
            return answers

    head, _, rest = asyncio.run(ask()).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"content-length: 1" in head
    assert rest.startswith(b"HTTP/1.1 200 ")
    assert rest.endswith(b"\r\n\r\n0")


def test_a_head_is_never_that_of_a_part(client: TestClient) -> None:
    head = client.head("/", headers={"range": "bytes=0-9"})
    assert head.status_code == 200
    assert head.headers["content-length"] == client.head("/").headers["content-length"]
