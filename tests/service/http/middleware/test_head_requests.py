"""What can be got can be asked for its head."""

import logging

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings


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
