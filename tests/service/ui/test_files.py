"""What the page is made of, without a browser."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi.testclient import TestClient

from service.http.pages import UI

PAGES = {UI / "classify" / "classify.html", UI / "teach" / "teach.html", UI / "docs" / "docs.html"}


def used(file: Path) -> set[Path]:
    """Files of the page that one of them names, and those that these name."""
    if file.suffix not in (".html", ".js", ".css"):
        return set()
    text = file.read_text()
    served = {UI / name for name in re.findall(r'"ui/([\w./]+)"', text)}
    beside = {(file.parent / name).resolve() for name in re.findall(r'(?:from |url\()"(\.{0,2}[\w./]+)"', text)}
    return served.union(beside, *map(used, served | beside))


def test_every_file_is_there_and_used() -> None:
    assert {path for path in UI.rglob("*") if path.is_file()} == PAGES.union(*map(used, PAGES))


def test_the_page_may_use_the_camera_and_nothing_else(client: TestClient) -> None:
    headers = client.get("/").headers
    assert headers["permissions-policy"] == "camera=(self), microphone=(), geolocation=()"
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert policy["img-src"] == "'self' blob:"
    assert policy["require-trusted-types-for"] == "'script'"
    assert policy["trusted-types"] == "'none'"
