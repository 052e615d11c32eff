"""Read how the body of an inference request is put together."""

from __future__ import annotations

from fastapi import Request

from service.inference_protocol import ProtocolError
from service.inference_protocol.errors import quoted

HEADER_LENGTH = "Inference-Header-Content-Length"


def header_length(request: Request) -> int | None:
    """Read how many bytes of the body are its JSON part; None if the client does not say.

    Raises:
        ProtocolError: The header is not a number.
    """
    text = request.headers.get(HEADER_LENGTH)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ProtocolError(f"{HEADER_LENGTH} is {quoted(text)}. Give the bytes of the JSON part, as a number.")
    return int(text)
