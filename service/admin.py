"""Who may load and unload models: the holder of the admin key, and nobody while there is none."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

from starlette.requests import HTTPConnection

from service.engine import Engine
from service.problems import Problem


async def require_admin(connection: HTTPConnection) -> None:
    """A dependency of routes that change what is served.

    The key comes as `Authorization: Bearer KEY`, or as the password of basic authentication with any user name.

    Raises:
        Problem: 401 if it is missing, 403 if it is wrong or model control is off.
    """
    engine: Engine = connection.app.state.engine
    expected = engine.settings.admin_key_sha256
    if expected is None:
        detail = "Loading and unloading models are off. Set AIT_ADMIN_KEY_SHA256 to allow them."
        raise Problem(403, "model-control-off", detail)
    key = _key(connection.headers.get("authorization", ""))
    if key is None:
        detail = "Loading and unloading need the admin key. Send it as Authorization: Bearer KEY."
        raise Problem(401, "key-missing", detail, headers={"WWW-Authenticate": "Bearer"})
    if not hmac.compare_digest(hashlib.sha256(key).hexdigest(), expected.lower()):
        raise Problem(403, "key-wrong", "This is not the admin key. Send the one whose SHA-256 the server was given.")


def _key(authorization: str) -> bytes | None:
    scheme, _, value = authorization.partition(" ")
    if scheme.lower() == "bearer" and value.strip():
        return value.strip().encode("latin-1")  # as it was on the wire
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2] or None
        except binascii.Error:
            return None
    return None
