"""Let only the holder of the admin key load and unload models, and nobody while there is no such key."""

from __future__ import annotations

from starlette.requests import HTTPConnection

from service.auth.keys import KeyRing, presented_key
from service.http.problems import Problem, key_missing


async def require_admin(connection: HTTPConnection) -> None:
    """Refuse a request without the admin key: a dependency of routes that change what is served.

    Raises:
        Problem: 401 if no key was sent, 403 if it is not the admin key or model control is off.
    """
    keys: KeyRing = connection.app.state.keys
    if not keys.has_admin:
        detail = "Loading and unloading models are off. Set AIT_ADMIN_KEY_SHA256 to allow them."
        raise Problem(403, "model-control-off", detail)
    key = presented_key(connection.headers)
    if key is None:
        raise key_missing("Loading and unloading need the admin key.")
    if not keys.is_admin(key):
        raise Problem(403, "key-wrong", "This is not the admin key. Send the one whose SHA-256 the server was given.")
