"""Keys, their rates, and the routes that ask for them."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from starlette.routing import Mount
from typer.testing import CliRunner

from ait_cli.main import app as cli
from service.app import create_app
from service.auth.keys import Key, KeyRing, KeysError, new_key, parse_keys, presented_key
from service.auth.rate_limit import Rates
from service.settings import Settings


def sha256(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEY, SLOW, ADMIN = "one-key", "slow-key", "admin-key"
LISTED = f"ci {sha256(KEY)}, slow {sha256(SLOW)} 0.5 2"

# Whatever is not named here must ask for a key.
PUBLIC = {
    "/",
    "/docs",
    "/ui/x",
    "/openapi.json",
    "/health/live",
    "/health/ready",
    "/v2/health/live",
    "/v2/health/ready",
}


# ---- lists of keys ----


def test_a_list_of_keys() -> None:
    digest = sha256("x")
    text = f"""
    # a comment
    one {digest}          # unlimited
    two {digest.upper()} 2.5
    three@b.c {digest} 0.1, four {digest} 10 3
    """
    raw = bytes.fromhex(digest)
    assert parse_keys(text, "file") == [
        Key("one", raw),
        Key("two", raw, 2.5, 3),
        Key("three@b.c", raw, 0.1, 1),
        Key("four", raw, 10.0, 3),
    ]
    assert parse_keys("", "file") == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("lonely", "1 words"),
        (f"a {sha256('x')} 1 2 3", "5 words"),
        (f"a/b {sha256('x')}", "the name"),
        ("a 123", "not a SHA-256"),
        (f"a {sha256('x')} 0", "rate 0"),
        (f"a {sha256('x')} nan", "rate nan"),
        (f"a {sha256('x')} 1 many", "burst many"),
        (f"admin {sha256('x')}", "taken"),
        (f"a {sha256('x')}, a {sha256('y')}", "taken"),
    ],
)
def test_wrong_lists_are_refused_by_line(line: str, words: str) -> None:
    with pytest.raises(KeysError, match=re.escape(words)) as caught:
        parse_keys(f"\n{line}", "keys.txt")
    assert "keys.txt, line 2" in str(caught.value)
    assert sha256("x") not in str(caught.value)


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file, now = tmp_path / "keys", 0.0
    file.write_text(f"old {sha256('old')}\n")
    ring = KeyRing(None, str(file), clock=lambda: now)

    def known(key: str) -> bool:
        return ring.find(key.encode()) is not None

    assert known("old")
    file.write_text(f"new {sha256('new')} 5\n")
    assert known("old")  # it is not looked at more than once a second
    now = 2.0
    assert (known("old"), known("new")) == (False, True)
    now = 4.0
    file.write_text("broken")
    assert known("new")
    now = 6.0
    file.unlink()
    assert known("new")
    now = 8.0
    file.write_text(f"newest {sha256('newest')}\n")
    assert (known("new"), known("newest")) == (False, True)


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="cannot be read"):
        KeyRing(None, str(tmp_path / "none"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(KeysError, match="not text"):
        KeyRing(None, str(tmp_path / "binary"))
    (tmp_path / "twice").write_text(LISTED.partition(",")[0])
    with pytest.raises(KeysError, match="ci"):
        KeyRing(LISTED, str(tmp_path / "twice"))


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({}, None),
        ({"authorization": "Bearer abc"}, b"abc"),
        ({"authorization": "bearer  abc "}, b"abc"),
        ({"authorization": "Bearer"}, None),
        ({"authorization": "Digest abc"}, None),
        ({"x-api-key": "abc"}, b"abc"),
        ({"x-api-key": " "}, None),
        ({"x-api-key": "\xe4"}, b"\xe4"),
        ({"authorization": "Bearer abc", "x-api-key": "def"}, b"abc"),
        ({"authorization": "Digest abc", "x-api-key": "def"}, b"def"),
        ({"authorization": "Basic " + base64.b64encode(b"user:a:c").decode()}, b"a:c"),
        ({"authorization": "Basic " + base64.b64encode(b"user:").decode()}, None),
        ({"authorization": "Basic ?"}, None),
    ],
)
def test_where_a_key_may_stand(headers: dict[str, str], key: bytes | None) -> None:
    assert presented_key(headers) == key


def test_making_a_key() -> None:
    key, digest = new_key()
    assert len(key) >= 43
    assert sha256(key) == digest
    assert new_key()[0] != key
    result = CliRunner().invoke(cli, ["key", "ci", "--rate", "2", "--burst", "5"])
    assert result.exit_code == 0
    secret = re.search(r"only now: +(\S+)", result.stderr)
    assert secret
    assert parse_keys(result.stdout, "file") == [Key("ci", hashlib.sha256(secret[1].encode()).digest(), 2.0, 5)]
    assert CliRunner().invoke(cli, ["key", "admin"]).stdout.startswith("AIT_ADMIN_KEY_SHA256=")
    assert CliRunner().invoke(cli, ["key", "no/name"]).exit_code == 1


# ---- rates ----


@hypothesis_settings(max_examples=100, deadline=None, derandomize=True)
@given(
    rate=st.floats(0.1, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 5), min_size=1, max_size=60),
)
def test_in_any_stretch_of_time_no_more_pass_than_burst_and_rate_allow(
    rate: float, burst: int, pauses: list[float]
) -> None:
    now = 0.0
    rates = Rates(clock=lambda: now)
    passed = []
    for pause in pauses:
        now += pause
        wait = rates.take("a", rate, burst)
        assert wait >= 0
        if wait:
            now += wait * (1 + 1e-6) + 1e-6  # what was promised holds
            assert rates.take("a", rate, burst) == 0.0
        passed.append(now)
    for i, start in enumerate(passed):
        for j in range(i, len(passed)):
            assert j - i + 1 <= burst + rate * (passed[j] - start) * (1 + 1e-6) + 1e-3


def test_after_a_pause_the_burst_is_there_again() -> None:
    now = 100.0
    rates = Rates(clock=lambda: now)
    assert [rates.take("a", 2.0, 3) for _ in range(3)] == [0.0] * 3
    assert rates.take("a", 2.0, 3) == pytest.approx(0.5)
    assert rates.take("b", 2.0, 3) == 0.0
    now = 110.0
    assert [rates.take("a", 2.0, 3) > 0 for _ in range(4)] == [False] * 3 + [True]


def test_processes_that_share_a_folder_count_together(tmp_path: Path) -> None:
    one, other = (Rates(tmp_path, clock=lambda: 50.0) for _ in range(2))
    assert [each.take("a", 1.0, 3) for each in (one, other, one)] == [0.0] * 3
    assert other.take("a", 1.0, 3) == pytest.approx(1.0)
    assert one.take("a", 1.0, 3) == pytest.approx(1.0)
    assert one.take("b", 1.0, 3) == 0.0
    before = len(os.listdir("/proc/self/fd"))
    one.close()
    other.close()
    assert len(os.listdir("/proc/self/fd")) == before - 3


# ---- routes ----


@pytest.fixture(scope="module")
def closed() -> TestClient:
    """A server that asks for keys, and has not been started: what is let in finds no model."""
    settings = Settings(_env_file=None, api_keys=LISTED, admin_key_sha256=sha256(ADMIN))
    return TestClient(create_app(settings), raise_server_exceptions=False)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


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
        if path.startswith("/v2/repository/models/"):
            assert response.status_code == 403, (method, path)  # that takes the admin key
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
    assert 1 <= int(response.headers["retry-after"]) <= 2
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
