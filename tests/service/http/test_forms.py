"""Forms within limits, and bodies that are compressed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from tests.support.servers.service_client import IMAGE, labels, post, problem

MULTIPART = {"content-type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"\r\n'
FORM = HEAD + b"\r\n" + IMAGE + b"\r\n--x--\r\n"


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is a form.\r\n", b"--y\r\n\r\n", b"a" * 60_000 + b"\r\n"])
def test_what_comes_before_the_first_boundary_is_passed_over(client: TestClient, preamble: bytes) -> None:
    assert labels(post(client, preamble + FORM, headers=MULTIPART)) == labels(post(client))
    pieces = iter([(preamble + FORM)[at : at + 1] for at in range(0, 2)] + [(preamble + FORM)[2:]])
    assert labels(client.post("/v1/classify", content=pieces, headers=MULTIPART)) == labels(post(client))


def test_a_preamble_without_end_is_refused(client: TestClient) -> None:
    problem(post(client, b"a" * 70_000 + b"\r\n" + FORM, headers=MULTIPART), 400, "malformed-form")


def test_a_form_of_very_many_parts_is_refused_before_it_has_been_read(client: TestClient) -> None:
    sent = 0

    def parts() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(1_000):
            sent += 1
            yield b"--x\r\nA: b\r\n\r\n\r\n" * 40

    problem(client.post("/v1/classify", content=parts(), headers=MULTIPART), 413, "too-many-parts")
    few = b"--x\r\nA: b\r\n\r\n\r\n" * 60
    assert len(labels(post(client, few + FORM, headers=MULTIPART))) == 1


@pytest.mark.parametrize("more", [b"A: b\r\n" * 20, b"A: " + b"b" * 9_000 + b"\r\n", b"A" * 9_000 + b": b\r\n"])
def test_the_headers_of_a_part_have_limits(client: TestClient, more: bytes) -> None:
    form = FORM.replace(HEAD, HEAD + more)
    assert "part" in problem(post(client, form, headers=MULTIPART), 400, "malformed-form")["detail"]


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_bodies(client: TestClient, encoding: str, pack: object) -> None:
    assert callable(pack)
    headers = {"content-encoding": encoding}
    assert labels(post(client, pack(IMAGE), headers=headers)) == labels(post(client))
    assert labels(post(client, pack(FORM), headers=headers | MULTIPART)) == labels(post(client))
    problem(post(client, pack(bytes(3_000_000)), headers=headers), 413, "too-large")
    problem(post(client, pack(IMAGE)[:-9], headers=headers), 400, "malformed-request")
    problem(post(client, IMAGE, headers=headers), 400, "malformed-request")


def test_codings_that_are_not_known(client: TestClient) -> None:
    response = post(client, IMAGE, headers={"content-encoding": "br"})
    problem(response, 415, "unsupported-encoding")
    assert response.headers["accept-encoding"] == "gzip, deflate"
