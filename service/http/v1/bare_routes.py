"""Route the operations that most requests ask for without FastAPI.

Their functions take the bare request and give a finished response: routing, validation and serialisation by FastAPI
would take longer than everything else that the front does for a small image. FastAPI has the same routes for its
description of the interface, to which `openapi_extra` adds what it cannot see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send


def bare_routes(router: APIRouter) -> list[BaseRoute]:
    """Make the routes of a router without FastAPI: where these stand first, no request comes to the others."""
    return [
        Route(route.path, _Endpoint(route.endpoint), methods=route.methods)
        for route in router.routes
        if isinstance(route, APIRoute)
    ]


class _Endpoint:
    """The bare application of a route: errors go up to the application's handlers, and need none of their own."""

    def __init__(self, answer: Callable[[Request], Awaitable[Response]]) -> None:
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._answer(Request(scope, receive, send))
        await response(scope, receive, send)
