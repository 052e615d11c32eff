"""Pages for people: to try images, to teach, and the reference; each a folder of `ui`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

UI = Path(__file__).parent.parent / "ui"
LONGEST_PATH: Final = 255  # characters, below /ui

# Browsers ask again before they reuse a file, so that an upgrade shows at once.
_HEADERS = {"Cache-Control": "no-cache"}


async def playground(_: Request) -> Response:
    """Give the first page."""
    return FileResponse(UI / "classify" / "classify.html", headers=_HEADERS)


async def teach(_: Request) -> Response:
    """Give the page on which memories are taught."""
    return FileResponse(UI / "teach" / "teach.html", headers=_HEADERS)


async def docs(_: Request) -> Response:
    """Give the reference, rendered from /openapi.json."""
    return FileResponse(UI / "docs" / "docs.html", headers=_HEADERS)


class _Assets(StaticFiles):
    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Find a file. A path of thousands of folders would be looked for in each of them, for half a second."""
        return super().lookup_path(path) if len(path) <= LONGEST_PATH else ("", None)

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers.update(_HEADERS)
        return response


def page_routes() -> list[BaseRoute]:
    """List the routes of the pages and of their scripts and styles."""
    return [
        Route("/", playground),
        Route("/teach", teach),
        Route("/docs", docs),
        Mount("/ui", _Assets(directory=UI)),
    ]
