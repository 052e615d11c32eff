"""What the page is made of, without a browser."""

from __future__ import annotations

import re

from fastapi.testclient import TestClient

from service.http.pages import UI

PAGES = ("index.html", "teach.html", "docs.html")


def used(name: str) -> set[str]:
    """Files of the page that one of them names, and those that these name."""
    if not name.endswith((".html", ".js", ".css")):
        return set()
    text = (UI / name).read_text()
    named = set(re.findall(r'"ui/([\w.]+)"|from "\./([\w.]+)"|url\("([\w.]+)"\)', text))
    direct = {next(filter(None, each)) for each in named}
    return direct.union(*map(used, direct))


def test_every_file_is_there_and_used() -> None:
    files = {path.name for path in UI.iterdir()}
    assert files == {*PAGES}.union(*map(used, PAGES))


def test_the_page_may_use_the_camera_and_nothing_else(client: TestClient) -> None:
    headers = client.get("/").headers
    assert headers["permissions-policy"] == "camera=(self), microphone=(), geolocation=()"
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob:"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
