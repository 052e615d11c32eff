"""Paths, prefixes, methods and origins at which the service answers."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.http.pages import UI
from service.settings import Settings

HEALTH = ("/health/live", "/v2/health/live")
PAGES = ("/", "/docs", "/ui/classify/classify.js")


def unstarted(**changes: str) -> TestClient:
    return TestClient(create_app(Settings(_env_file=None, allowed_hosts="testserver", **changes)))


@pytest.mark.parametrize("path", [*HEALTH, *PAGES])
def test_head_is_answered_without_a_body(path: str) -> None:
    response = unstarted().head(path)
    assert response.status_code == 200
    assert unstarted().get(path).status_code == 200


@pytest.mark.parametrize("path", [*HEALTH, *PAGES, "/openapi.json"])
@pytest.mark.parametrize("taken_away", [True, False])
def test_a_path_prefix(path: str, taken_away: bool) -> None:
    asked = path if taken_away else f"/a/b{path}"
    assert unstarted(root_path="/a/b").get(asked).status_code == 200
    assert unstarted().get(asked, headers={"x-forwarded-prefix": "/a/b"}).status_code == 200


def test_the_description_names_the_prefix_as_the_server() -> None:
    told = {"x-forwarded-prefix": "/a/b"}
    assert unstarted(root_path="/a/b").get("/openapi.json").json()["servers"] == [{"url": "/a/b"}]
    client = unstarted()
    assert client.get("/openapi.json", headers=told).json()["servers"] == [{"url": "/a/b"}]
    assert "servers" not in client.get("/openapi.json").json()  # a client without the proxy is told nothing of it


def test_a_prefix_that_could_lead_elsewhere_is_ignored() -> None:
    client = unstarted()
    strange = (
        "//a.example",
        "/a/..",
        "/../b",
        "/./b",
        "/a b",
        "/a?b",
        "/a#b",
        "/<a>",
        "/%2e%2e",
        "/\xe9",
        "/a" * 5000,
    )
    for prefix in strange:
        told = {b"x-forwarded-prefix": prefix.encode("latin-1")}
        response = client.get("/openapi.json", headers=told)
        assert response.status_code == 200
        assert "servers" not in response.json()


def test_a_prefix_opens_nothing_that_needs_a_key() -> None:
    client = unstarted(api_keys="someone " + "0" * 64)
    for prefix in ("/health/live", "/v1", "/v1/models", "/ui", "//x", "nonsense"):
        for path in ("/v1/models", f"{prefix}/v1/models"):
            assert client.get(path, headers={"x-forwarded-prefix": prefix}).status_code in (401, 404)


def test_pages_name_what_they_need_by_relative_addresses() -> None:
    for page in UI.glob("*.html"):
        assert not re.findall(r'(?:href|src)="/', page.read_text()), page
    for script in UI.glob("*.js"):
        assert not re.findall(r'["`]/(?:v1|ui|openapi|docs)', script.read_text()), script


def test_other_origins_may_ask_only_where_they_are_named() -> None:
    headers = {"origin": "https://app.example.org"}
    assert "access-control-allow-origin" not in unstarted().get("/health/live", headers=headers).headers
    client = unstarted(cors_origins="https://app.example.org, https://other.example.org", api_keys="one " + "0" * 64)
    assert client.get("/health/live", headers=headers).headers["access-control-allow-origin"] == headers["origin"]
    for path, method in (("/v1/classify", "POST"), ("/v1/models", "HEAD")):
        before = client.options(path, headers=headers | {"access-control-request-method": method})
        assert before.status_code == 200
    evil = client.get("/health/live", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers


def test_operations_are_named_as_methods_of_clients() -> None:
    document = create_app(Settings(_env_file=None)).openapi()
    names = Counter(each["operationId"] for path in document["paths"].values() for each in path.values())
    assert {name: count for name, count in names.items() if count > 1} == {}
    assert all(re.fullmatch(r"[a-z][a-z0-9_]{2,40}", name) for name in names), sorted(names)
    assert {"classify", "classify_model", "classify_version", "list_models", "v2_infer_model"} <= set(names)
