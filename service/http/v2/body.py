"""Read the body of an inference request, decompressed and limited."""

from __future__ import annotations

from fastapi import Request

from service.http.uploads import inflated
from service.inference_protocol import ProtocolError
from service.inference_protocol.errors import quoted

HEADER_LENGTH = "Inference-Header-Content-Length"


async def read_body(request: Request, limit: int) -> bytearray:
    """Read the whole body; the limit holds before and after decompression.

    Raises:
        Problem: 413 for too many bytes.
        TooLarge: Too many bytes after decompression.
        ProtocolError: The body is not compressed as its Content-Encoding says.
        ClientDisconnect: The client left before it had sent everything.
    """
    body = bytearray()
    async for chunk in inflated(request, limit):
        body += chunk
    return body


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
