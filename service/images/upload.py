"""A file of a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Upload:
    """One file as sent; `filename` is whatever the client calls it."""

    data: bytes | bytearray
    filename: str | None = None
