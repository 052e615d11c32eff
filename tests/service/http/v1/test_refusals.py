"""Refusals say what was sent and what to send."""

from __future__ import annotations

import base64
import gzip
import json
from typing import get_args

import pytest
from fastapi.testclient import TestClient

from ait_lite.images.content import Content
from service.http.advice import advice
from tests.support.images.service_images import encode, scene
from tests.support.servers.service_client import IMAGE, labels, post, problem

BASE64 = base64.b64encode(IMAGE)


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (json.dumps({"image": BASE64.decode()}).encode(), ("JSON", "--data-binary @")),
        (b"data:image/png;base64," + BASE64, ("data URL", "--data-binary @")),
        (BASE64, ("base64 -d", "--data-binary @")),
        (b"cat.jpg", ("the @ before it is missing", "--data-binary @")),
        (b"\0\0\0\x18ftypheic\0\0\0\0", ("HEIC", "magick")),
        (gzip.compress(IMAGE), ("Content-Encoding: gzip",)),
        (encode(scene(), "GIF"), ("GIF", "PNG")),
    ],
    ids=["json", "data URL", "base64", "name", "heic", "gzip", "gif"],
)
def test_what_was_sent_is_named(client: TestClient, sent: bytes, words: tuple[str, ...]) -> None:
    for response in (post(client, sent), client.post("/v1/classify", files=[("file", IMAGE), ("file", sent)])):
        detail = problem(response, 415, "unsupported-format")["detail"]
        assert all(each in detail for each in words)


def test_there_is_advice_for_every_kind_of_content() -> None:
    assert all(advice(kind) for kind in get_args(Content))
    assert advice(None) == ""


@pytest.mark.parametrize(
    ("operation", "known"), [("classify", "top_k"), ("explain", "class, overlay, top_k"), ("embed", "none")]
)
@pytest.mark.parametrize("prefix", ["/v1", "/v1/models/colours", "/v1/models/colours/versions/1"])
def test_unknown_query_parameters_are_refused(client: TestClient, prefix: str, operation: str, known: str) -> None:
    document = problem(post(client, path=f"{prefix}/{operation}?topk=3"), 400, "unknown-parameter")
    assert "'topk'" in document["detail"]
    assert f"It takes {known}." in document["detail"]


def test_query_parameters_that_come_twice_are_refused(client: TestClient) -> None:
    document = problem(post(client, path="/v1/classify?top_k=1&top_k=2"), 400, "invalid-parameter")
    assert document["detail"] == "top_k comes more than once. Send a request for each."


def test_known_query_parameters_are_taken(client: TestClient) -> None:
    assert len(labels(post(client, path="/v1/classify?top_k=1"))[0]) == 1
