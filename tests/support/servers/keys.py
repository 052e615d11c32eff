"""API keys as clients and settings write them."""

from __future__ import annotations

import hashlib


def sha256(key: str) -> str:
    """Return the digest under which settings list a key."""
    return hashlib.sha256(key.encode()).hexdigest()


def bearer(key: str) -> dict[str, str]:
    """Return the headers of a request that carries a key."""
    return {"authorization": f"Bearer {key}"}
