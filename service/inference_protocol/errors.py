"""The errors of requests and answers; each message names the place and the remedy."""

from __future__ import annotations


class ProtocolError(ValueError):
    """The bytes are not a request that the protocol and the model's signature allow."""


class TooLarge(ProtocolError):
    """The request is well-formed but larger than a limit."""


class UnsupportedEncoding(ProtocolError):
    """The content coding of the body is not one that is understood."""


def quoted(name: object) -> str:
    """Quote what a client sent, printable and short, so that it may stand in a message."""
    text = repr(name)
    return text if len(text) <= 80 else f"{text[:76]}…{text[0]}"
