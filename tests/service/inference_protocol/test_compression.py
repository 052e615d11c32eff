"""Content codings of the inference protocol."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from service.inference_protocol import (
    Inflater,
    ProtocolError,
    TooLarge,
    UnsupportedEncoding,
    accepted_encoding,
    compress,
)

ENCODINGS = ("gzip", "deflate")
LAW = hypothesis_settings(max_examples=40, deadline=None, derandomize=True)


def inflate(encoding: str, chunks: Iterable[bytes], limit: int = 1_000_000) -> bytes:
    inflater = Inflater(encoding, limit)
    body = b"".join(piece for chunk in chunks for piece in inflater.feed(chunk))
    inflater.finish()
    return body


def chunked(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@LAW
@given(st.sampled_from(ENCODINGS), st.binary(max_size=300), st.integers(1, 2000), st.integers(1, 50))
def test_bodies_come_back_however_they_are_cut(encoding: str, data: bytes, times: int, size: int) -> None:
    body = data * times
    assert inflate(encoding, chunked(compress(body, encoding), size)) == body


@pytest.mark.parametrize("length", [0, 1, 256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 999_999])
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sizes_about_that_of_a_piece(encoding: str, length: int) -> None:
    assert inflate(encoding, [compress(bytes(length), encoding)]) == bytes(length)


def test_what_the_standard_library_makes() -> None:
    assert inflate("gzip", [gzip.compress(b"body")]) == b"body"
    assert inflate("X-Gzip", [gzip.compress(b"body")]) == b"body"
    assert inflate(" Deflate ", [zlib.compress(b"body")]) == b"body"
    assert gzip.decompress(compress(b"body", "gzip")) == b"body"
    assert zlib.decompress(compress(b"body", "deflate")) == b"body"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_bomb_is_stopped_at_the_limit(encoding: str) -> None:
    bomb = compress(bytes(200_000_000), encoding)
    assert len(bomb) < 1_000_000
    tracemalloc.start()
    try:
        inflater, sizes = Inflater(encoding, 1_000_000), []
        with pytest.raises(TooLarge, match="1,000,000"):
            sizes.extend(map(len, inflater.feed(bomb)))
        assert 0 < sum(sizes) <= 1_000_000
        assert tracemalloc.get_traced_memory()[1] < 3_000_000 + len(bomb)
    finally:
        tracemalloc.stop()
    assert len(inflate(encoding, [compress(bytes(1_000_000), encoding)])) == 1_000_000
    with pytest.raises(TooLarge):
        inflate(encoding, [compress(bytes(1_000_001), encoding)])


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_damaged_bodies(encoding: str) -> None:
    whole = compress(b"some body " * 100, encoding)
    with pytest.raises(ProtocolError, match="ends too early"):
        inflate(encoding, [whole[:-1]])
    with pytest.raises(ProtocolError, match="ends too early"):
        inflate(encoding, [])
    with pytest.raises(ProtocolError, match="not valid"):
        inflate(encoding, [whole[:-4] + bytes(4)] if encoding == "deflate" else [whole[:-8] + bytes(8)])
    with pytest.raises(ProtocolError, match="not valid"):
        inflate(encoding, [b"{}"])
    for more in (b"x", whole):
        with pytest.raises(ProtocolError, match="follow the end"):
            inflate(encoding, [whole + more])
        with pytest.raises(ProtocolError, match="follow the end"):
            inflate(encoding, [whole, more])


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, deflate", "", "gz\nip"])
def test_other_codings(encoding: str) -> None:
    with pytest.raises(UnsupportedEncoding, match="gzip or deflate"):
        Inflater(encoding, 10)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("gzip", "gzip"),
        ("deflate", "deflate"),
        ("gzip, deflate, br, zstd", "gzip"),
        ("br", None),
        ("GZIP", "gzip"),
        ("deflate;q=0.9, gzip;q=0.2", "deflate"),
        ("gzip; q=0", None),
        ("gzip;q=0,deflate;q=0.001", "deflate"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.1, gzip;q=0.5", "gzip"),
        ("gzip;q=nonsense, ,;;", None),
        ("*", None),
    ],
)
def test_what_a_client_accepts(header: str | None, expected: str | None) -> None:
    assert accepted_encoding(header) == expected
