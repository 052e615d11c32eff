"""What standard clients do not send: broken requests under /v2, drains, errors of the server."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from service.app import create_app
from service.settings import Settings
from tests.support.images.service_images import encode, scene

INFER = "/v2/models/colours/infer"

ZEROS = {"name": "pixels", "shape": [1, 3, 32, 32], "datatype": "FP32", "data": [0] * 3072}

BODY = json.dumps({"inputs": [ZEROS]}).encode()


def error(response: Response, status: int, words: str) -> str:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert list(document) == ["error"]
    assert words in document["error"]
    assert "Traceback" not in response.text
    return str(document["error"])


def post(client: TestClient, body: Any = BODY, path: str = INFER, **headers: str) -> Response:
    return client.post(path, content=body, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_plain_json_is_answered_in_plain_json(client: TestClient) -> None:
    response = post(client)
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert (document["model_name"], document["model_version"]) == ("colours", "1")
    assert "id" not in document
    assert [(each["name"], each["shape"], len(each["data"])) for each in document["outputs"]] == [
        ("logits", [1, 3], 3),
        ("probabilities", [1, 3], 3),
    ]
    assert sum(document["outputs"][1]["data"]) == pytest.approx(1)
    assert post(client, content_type="text/nonsense").json() == document


def test_a_image_as_the_one_element_of_an_input(client: TestClient) -> None:
    image = encode(scene(), "JPEG")
    element = len(image).to_bytes(4, "little") + image
    item = {"name": "image", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(element)}}
    wanted = {"name": "probabilities", "parameters": {"classification": 1}}
    head = json.dumps({"id": "", "inputs": [item], "outputs": [wanted]}).encode()
    document = post(client, head + element, inference_header_content_length=str(len(head))).json()
    assert document["id"] == ""
    (prediction,) = client.post("/v1/classify?top_k=1", content=image).json()["predictions"]
    value, _, label = document["outputs"][0]["data"][0].split(":")
    assert (label, float(value)) == (prediction["labels"][0]["label"], pytest.approx(prediction["labels"][0]["score"]))


def test_paths_and_methods_that_there_are_not(client: TestClient) -> None:
    for path in ("/v2/", "/v2/nothing", "/v2/models", "/v2/models/colours/nothing", "/v2/%F0%9F/%00"):
        error(client.get(path), 404, "There is nothing at /v2/")
    error(client.get("/v2/models/other"), 404, "There is no model 'other'. There is: colours.")
    error(post(client, path="/v2/models/colours/versions/x/infer"), 404, "no version 'x'")
    error(client.get(INFER), 405, "does not take GET")
    assert client.get("/v2extra").headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("length", ["0", "-1", "+5", "1e3", "", "٣", "1" * 30, str(len(BODY) + 1)])
def test_the_length_of_the_json_part(client: TestClient, length: str) -> None:
    headers = {"inference-header-content-length": length.encode()}
    error(client.post(INFER, content=BODY, headers=headers), 400, "Inference-Header-Content-Length")
    assert post(client, inference_header_content_length=str(len(BODY))).status_code == 200


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_compressed_bodies(client: TestClient, settings: Settings, encoding: str) -> None:
    compress = gzip.compress if encoding == "gzip" else zlib.compress
    assert post(client, compress(BODY), content_encoding=encoding).json() == post(client).json()
    assert post(client, content_encoding="identity").status_code == 200
    error(post(client, BODY, content_encoding=encoding), 400, f"not valid {encoding}")
    error(post(client, compress(BODY)[:-1], content_encoding=encoding), 400, "ends too early")
    error(post(client, compress(BODY) + b"more", content_encoding=encoding), 400, "follow the end")
    error(post(client, b"", content_encoding=encoding), 400, "ends too early")
    bomb = compress(bytes(100_000_000))
    assert len(bomb) < settings.max_body_bytes
    error(post(client, bomb, content_encoding=encoding), 413, "1,000,000")


def test_other_codings_are_refused_with_those_that_are_taken(client: TestClient) -> None:
    response = post(client, content_encoding="br")
    error(response, 415, "'br' is not taken. Use gzip or deflate")
    assert response.headers["accept-encoding"] == "gzip, deflate"


def test_too_many_bytes(client: TestClient, settings: Settings) -> None:
    error(post(client, bytes(settings.max_body_bytes + 1)), 413, "1,000,000")
    error(post(client, iter([bytes(100_000)] * 11)), 413, "1,000,000")
    error(client.post("/v2/repository/index", content=bytes(100_000)), 413, "65,536")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "not JSON"),
        (b"\xff\xfe{\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'"text"', "not a JSON object"),
        (b'{"inputs": [{"name": "\\ud800"}]}', "not JSON"),
        (json.dumps({"inputs": [{"name": "\U0001f600\0\x7f"}]}).encode(), "There is no input"),
        (b'{"inputs": [{"name": "' + b"x" * 500_000 + b'"}]}', "There is no input 'xxx"),
        (json.dumps({"inputs": [{**ZEROS, "shape": [2**62] * 4}]}).encode(), "Send [-1, 3, 32, 32]"),
        (json.dumps({"inputs": [{**ZEROS, "data": [1e39] * 3072}]}).encode(), "FP32 does not hold"),
        (json.dumps({"inputs": [ZEROS], "parameters": {"timeout": "1"}}).encode(), "timeout"),
    ],
)
def test_broken_requests(client: TestClient, body: bytes, words: str) -> None:
    assert len(error(post(client, body), 400, words)) < 400


def test_numbers_that_the_model_turns_into_infinity_are_not_answered_in_json(client: TestClient) -> None:
    huge = json.dumps({"inputs": [{**ZEROS, "data": [3e38, -3e38] * 1536}]}).encode()
    response = post(client, huge)
    assert response.status_code in (200, 400), response.text
    json.loads(response.text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_deadline_that_has_passed(client: TestClient) -> None:
    late = json.dumps({"inputs": [ZEROS], "parameters": {"timeout": 1}}).encode()
    error(post(client, late), 504, "not there in time")
    for harmless in (0, 10**17, 10**300):
        body = json.dumps({"inputs": [ZEROS], "parameters": {"timeout": harmless, "unknown": [1]}}).encode()
        assert post(client, body).status_code == 200


def test_before_the_model_is_loaded_and_while_draining(settings: Settings) -> None:
    app = create_app(settings)
    early = TestClient(app)  # not entered: the application has not been started
    assert early.get("/v2").status_code == 200
    for words in ("loading", "stopping"):
        assert early.get("/v2/health/live").json() == {"live": True}
        for response in (early.get("/v2/health/ready"), early.get("/v2/models/colours/ready"), post(early)):
            error(response, 503, words)
            assert response.headers["retry-after"]
        app.state.engine.drain()


def test_an_unexpected_error(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(settings)

    async def fail() -> None:
        raise RuntimeError("secret detail")

    app.add_api_route("/v2/fail", fail)
    with caplog.at_level(logging.ERROR):
        response = TestClient(app, raise_server_exceptions=False).get("/v2/fail")
    assert "secret" not in error(response, 500, "The server failed")
    assert "secret detail" in caplog.text


def test_clients_that_leave_count_as_failures(client: TestClient) -> None:
    def failures() -> int:
        (of,) = client.get("/v2/models/colours/stats").json()["model_stats"]
        return int(of["inference_stats"]["fail"]["count"])

    before = failures()
    assert client.portal
    assert client.portal.call(_leave_at_once, client.app) == 499
    assert failures() == before + 1


async def _leave_at_once(app: Any) -> int:
    """The status that the application gives a request whose client has left when its body was there."""
    left = asyncio.Event()
    sent: list[dict[str, Any]] = []

    def messages() -> Iterator[dict[str, Any]]:
        yield {"type": "http.request", "body": BODY}
        yield {"type": "http.disconnect"}

    queue = messages()

    async def receive() -> dict[str, Any]:
        return next(queue, None) or await left.wait() or {}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": INFER, "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return int(sent[0]["status"])
