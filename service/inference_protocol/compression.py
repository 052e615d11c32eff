"""Content codings: gzip and deflate, as HTTP means them (RFC 9110)."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator

from service.inference_protocol.errors import ProtocolError, TooLarge, UnsupportedEncoding, quoted

ENCODINGS = ("gzip", "deflate")

_WINDOW = {"gzip": 31, "x-gzip": 31, "deflate": 15}  # zlib's wbits: what wraps the compressed bytes
_PIECE = 256 * 1024
_LEVEL = 1  # tensors hardly shrink: more effort only takes time
_WEIGHT = re.compile(r"\s*([^\s;]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?", re.IGNORECASE)


class Inflater:
    """Decompress a body as it arrives, and never more of it than a limit."""

    def __init__(self, encoding: str, limit: int) -> None:
        """Prepare to decompress a body.

        Args:
            encoding: The value of Content-Encoding.
            limit: Most bytes after decompression.

        Raises:
            UnsupportedEncoding: As named.
        """
        self._encoding, self._limit, self._size = encoding.strip().lower(), limit, 0
        if self._encoding not in _WINDOW:
            raise UnsupportedEncoding(
                f"The content encoding {quoted(encoding)} is not taken. Use {' or '.join(ENCODINGS)}, or none."
            )
        self._zlib = zlib.decompressobj(_WINDOW[self._encoding])

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the next bytes of the body decompressed, in pieces small enough to hold nobody up.

        Raises:
            ProtocolError: The bytes are not compressed so, or something follows the end.
            TooLarge: More comes out than the limit allows.
        """
        while True:
            if self._zlib.eof and data:
                raise ProtocolError(f"Bytes follow the end of the {self._encoding} body. Send one compressed body.")
            try:
                piece = self._zlib.decompress(data, _PIECE)
            except zlib.error as error:
                raise ProtocolError(f"The body is not valid {self._encoding}. Compress it again.") from error
            self._size += len(piece)
            if self._size > self._limit:
                raise TooLarge(f"The body, decompressed, is larger than the {self._limit:,} bytes that are accepted.")
            if piece:
                yield piece
            data = self._zlib.unconsumed_tail or self._zlib.unused_data
            if not data and len(piece) < _PIECE:
                return

    def finish(self) -> None:
        """Check that the body was whole.

        Raises:
            ProtocolError: It ended too early.
        """
        if not self._zlib.eof:
            raise ProtocolError(f"The {self._encoding} body ends too early. Send all of it.")


def accepted_encoding(header: str | None) -> str | None:
    """Find the coding that an Accept-Encoding header prefers: "gzip", "deflate", or None for none."""
    weights: dict[str, float] = {}
    for part in (header or "").split(","):
        if found := _WEIGHT.fullmatch(part):
            weights[found[1].lower()] = float(found[2] or 1)
    best = max(ENCODINGS, key=lambda encoding: weights.get(encoding, 0.0))
    weight = weights.get(best, 0.0)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def compress(body: bytes, encoding: str) -> bytes:
    """Compress a body with one of `ENCODINGS`."""
    return gzip.compress(body, _LEVEL, mtime=0) if encoding == "gzip" else zlib.compress(body, _LEVEL)
