"""The files of the page."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from service.http.pages import UI

_FILES = sorted(f"/ui/{path.relative_to(UI).as_posix()}" for path in UI.glob("*/*"))


@pytest.mark.parametrize("path", ["/", "/teach", "/docs", *_FILES])
def test_pages(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    # Nothing comes from another host, and no inline script or style needs an exception in the policy.
    text = response.text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    for inline in ("<script>", "<style", " style=", " onclick=", "eval("):
        assert inline not in text
    assert client.head(path).status_code == 200


def test_what_is_no_file_of_the_page_is_not_found(client: TestClient) -> None:
    outside = ("..%2f..%2fsettings.py", "%2e%2e/app.py", "app.js%00.css", "%00", "%ff", "%2fetc%2fpasswd", "")
    for path in (*outside, "a/" * 20_000, "x" * 300):
        assert client.get(f"/ui/{path}").status_code == 404
