"""Routes ask for keys: all but those that are public by name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from starlette.routing import Mount

from service.app import create_app
from service.auth.keys import KeysError
from service.settings import Settings
from tests.support.servers.keys import bearer, sha256

KEY, SLOW, ADMIN = "one-key", "slow-key", "admin-key"

LISTED = f"ci {sha256(KEY)}, slow {sha256(SLOW)} 0.001 2"  # the next request in a quarter of an hour

# Whatever is not named here must ask for a key.
PUBLIC = {
    "/",
    "/teach",
    "/docs",
    "/ui/x",
    "/openapi.json",
    "/health/live",
    "/health/ready",
    "/v2/health/live",
    "/v2/health/ready",
}


@pytest.fixture(scope="module")
def closed() -> TestClient:
    """A server that asks for keys, and has not been started: what is let in finds no model."""
    settings = Settings(_env_file=None, api_keys=LISTED, admin_key_sha256=sha256(ADMIN))
    return TestClient(create_app(settings), raise_server_exceptions=False)


def routes(client: TestClient) -> list[tuple[str, str]]:
    """Method and path of every route, with something in place of its parameters."""
    found = []
    for context in iter_route_contexts(client.app.routes):  # type: ignore[attr-defined]
        route = context.original_route
        path = re.sub(r"\{[^}]+\}", "x", context.path or getattr(route, "path", ""))
        if isinstance(route, Mount):
            path, methods = f"{path}/x", {"GET"}
        else:
            methods = context.methods or route.methods
        found += [(method, path) for method in sorted(methods)]
    return found


def test_every_route_is_public_by_name_or_asks_for_a_key(closed: TestClient) -> None:
    walked = routes(closed)
    assert {"/v1/classify", "/v2/models/x/infer", "/v2/repository/models/x/load", "/metrics", "/ui/x"} <= {
        path for _, path in walked
    }
    for method, path in walked:
        for headers, status in (({}, 401), (bearer("wrong"), 403), ({"x-api-key": "wrong"}, 403)):
            response = closed.request(method, path, headers=headers)
            if path in PUBLIC:
                assert response.status_code not in (401, 403), (method, path)
            else:
                assert response.status_code == status, (method, path)
                assert ("www-authenticate" in response.headers) == (status == 401)
        response = closed.request(method, path, headers=bearer(KEY))
        changes_memories = path.startswith("/v1/memories/") and not path.endswith("/recall") and method != "GET"
        if path.startswith("/v2/repository/models/") or changes_memories or path.endswith("/file"):
            assert response.status_code == 403, (method, path)  # that takes the admin key, or one with more scope
        else:
            assert response.status_code not in (401, 403), (method, path)
        assert closed.request(method, path, headers=bearer(ADMIN)).status_code not in (401, 403), (method, path)


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/ui", "/uix", "/health", "/health/live/", "/x//health/live", "/metrics", "/v2/health/livex"],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "TRACE"])
def test_what_is_not_public_by_name_is_closed(closed: TestClient, method: str, path: str) -> None:
    assert closed.request(method, path).status_code == 401


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/models", "/v2", "/v2/models/x", "/v2/repository/index", "/no"])
def test_refusals_look_like_other_errors(closed: TestClient, path: str) -> None:
    response = closed.post(path)
    document: dict[str, Any] = response.json()
    if path.startswith("/v2"):
        assert list(document) == ["error"]
        assert "Bearer" in document["error"]
    else:
        assert (document["type"], document["status"]) == ("urn:ait:key-missing", 401)
        assert "Bearer" in document["detail"]
        assert document["request_id"] == response.headers["x-request-id"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["www-authenticate"] == "Bearer"


def test_a_key_that_asks_too_often(closed: TestClient) -> None:
    codes = [closed.get("/v1/models", headers=bearer(SLOW)).status_code for _ in range(3)]
    assert codes == [503, 503, 429]
    response = closed.get("/v1/models", headers={"x-api-key": SLOW})
    assert response.status_code == 429
    assert 1 <= int(response.headers["retry-after"]) <= 1000
    assert response.json()["type"] == "urn:ait:rate-exceeded"
    assert closed.get("/health/live", headers=bearer(SLOW)).status_code == 200
    assert closed.get("/v1/models", headers=bearer(KEY)).status_code == 503
    metrics = closed.get("/metrics", headers=bearer(KEY)).text
    assert 'ait_rejected_total{model="",reason="rate-exceeded"} 2.0' in metrics
    assert 'ait_rejected_total{model="",reason="key-missing"}' in metrics


def test_refusing_does_not_wait_for_the_body(closed: TestClient) -> None:
    def endless() -> Iterator[bytes]:
        yield b"x"
        raise AssertionError("more of the body was asked for")

    assert closed.post("/v1/classify", content=endless()).status_code == 401


def test_without_keys_everything_but_model_control_is_open() -> None:
    client = TestClient(create_app(Settings(_env_file=None)), raise_server_exceptions=False)
    for method, path in routes(client):
        status = client.request(method, path).status_code
        assert (status in (401, 403)) == path.startswith("/v2/repository/models/"), (method, path)


def test_metrics_may_be_public() -> None:
    settings = Settings(_env_file=None, api_keys=LISTED, metrics_public=True)
    client = TestClient(create_app(settings))
    assert client.get("/metrics").status_code == 200
    assert client.get("/v1/models").status_code == 401


def test_where_the_application_is_mounted_does_not_matter() -> None:
    client = TestClient(create_app(Settings(_env_file=None, api_keys=LISTED)), root_path="/health")
    assert client.get("/health/health/live").status_code == 200
    assert client.get("/health/v1/models").status_code == 401


def test_the_description_says_what_takes_a_key(closed: TestClient) -> None:
    document = closed.get("/openapi.json").json()
    assert {each["type"] for each in document["components"]["securitySchemes"].values()} == {"http", "apiKey"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == (path not in PUBLIC)
            assert ({"401", "403", "429"} <= operation["responses"].keys()) == (path not in PUBLIC)
    open_document = create_app(Settings(_env_file=None)).openapi()
    assert {} in open_document["paths"]["/v1/classify"]["post"]["security"]


def test_wrong_keys_stop_the_start() -> None:
    with pytest.raises(KeysError, match="AIT_API_KEYS, line 1"):
        create_app(Settings(_env_file=None, api_keys="nonsense"))
