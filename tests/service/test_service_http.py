from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from fastapi import Request
from fastapi import Response as PlainResponse
from fastapi.testclient import TestClient
from httpx import Response
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

import service
from service.app import create_app
from service.engine import Engine
from service.http.pages import UI
from service.predict import predict_files
from service.settings import Settings
from tests.support.service_client import LABELS
from tests.support.service_images import FORMATS, encode, many_scans, png_header, scene

PICTURE = encode(scene())
FUZZ = hypothesis_settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def problem(response: Response, status: int, kind: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document = response.json()
    assert document["status"] == status
    assert document["type"] == f"urn:ait:{kind}"
    assert document["title"]
    assert document["detail"]
    assert "Traceback" not in response.text
    return dict(document)


def labels(response: Response) -> list[list[dict[str, Any]]]:
    assert response.status_code == 200, response.text
    return [each["labels"] for each in response.json()["predictions"]]


def post(client: TestClient, data: bytes = PICTURE, path: str = "/v1/classify", **options: Any) -> Response:
    return client.post(path, content=data, **options)


def served_by(client: TestClient) -> Engine:
    """The engine behind a client."""
    engine: Engine = client.app.state.engine  # type: ignore[attr-defined]
    return engine


def occupy(pool: ThreadPoolExecutor) -> threading.Event:
    """Keeps all threads of a pool busy until the event is set."""
    release, begun = threading.Event(), threading.Semaphore(0)

    def wait() -> None:
        begun.release()
        release.wait()

    for _ in range(pool._max_workers):
        pool.submit(wait)
    for _ in range(pool._max_workers):
        begun.acquire()
    return release


# ---- answers ----


def test_the_answer(client: TestClient) -> None:
    document = post(client).json()
    assert document["model"] == "colours"
    assert document["version"] == "1"
    assert set(document["timing_ms"]) == {"queue", "decode", "infer"}
    assert all(value >= 0 for value in document["timing_ms"].values())
    (prediction,) = document["predictions"]
    assert prediction["index"] == 0
    scores = [each["score"] for each in prediction["labels"]]
    assert sorted(each["label"] for each in prediction["labels"]) == sorted(LABELS)
    assert scores == sorted(scores, reverse=True)
    assert sum(scores) == pytest.approx(1, abs=1e-5)


def test_scores_are_those_of_timm(client: TestClient, model_folder: Path) -> None:
    model = timm.create_model(f"local-dir:{model_folder}", pretrained=True).eval()
    transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model), is_training=False)
    with torch.inference_mode():
        expected = model(transform(scene())[None]).softmax(-1)[0].tolist()
    (answer,) = labels(post(client))
    assert {each["label"]: each["score"] for each in answer} == pytest.approx(
        dict(zip(LABELS, expected, strict=True)), abs=1e-5
    )


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "image/png",
        "image/jpeg",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "nonsense",
        "",
    ],
)
def test_the_content_decides_not_the_type(client: TestClient, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    assert labels(post(client, headers=headers)) == labels(post(client))


@pytest.mark.parametrize("path", ["/v1/models/colours/classify", "/v1/models/colours/versions/1/classify"])
def test_by_name(client: TestClient, path: str) -> None:
    assert labels(post(client, path=path)) == labels(post(client))


@pytest.mark.parametrize(("top_k", "count"), [(1, 1), (2, 2), (3, 3), (4, 3), (10**30, 3)])
def test_top_k(client: TestClient, top_k: int, count: int) -> None:
    (answer,) = labels(post(client, params={"top_k": top_k}))
    assert answer == labels(post(client))[0][:count]


def test_raw_multipart_and_files_agree(client: TestClient, model_folder: Path, tmp_path: Path) -> None:
    pictures = [encode(image, format) for format in FORMATS for image in (scene(),)]
    paths = [tmp_path / f"{index}.bin" for index in range(len(pictures))]
    for path, data in zip(paths, pictures, strict=True):
        path.write_bytes(data)
    raw = [labels(post(client, data))[0] for data in pictures]
    files = [("file", (f"{index}.dat", data)) for index, data in enumerate(pictures)]
    response = client.post("/v1/classify", files=files)
    assert [each["index"] for each in response.json()["predictions"]] == [0, 1, 2]
    on_disk = [dict(each.labels) for each in predict_files(paths, model=model_folder)]
    for one, many, disk in zip(raw, labels(response), on_disk, strict=True):
        expected = pytest.approx({each["label"]: each["score"] for each in one}, abs=2e-6)
        assert {each["label"]: each["score"] for each in many} == expected
        assert disk == expected


def test_other_fields_of_a_form_are_skipped(client: TestClient) -> None:
    response = client.post("/v1/classify", data={"note": "x" * 1000}, files={"file": ("a.png", PICTURE)})
    assert labels(response) == labels(post(client))


def test_a_turned_photograph_equals_the_upright_one(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = encode(scene().transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert labels(post(client, turned)) == labels(post(client))


# ---- refusals ----


def test_unreadable_pictures(client: TestClient) -> None:
    problem(post(client, b""), 400, "empty-image")
    problem(post(client, b"just text"), 415, "unsupported-format")
    problem(post(client, b"GIF89a" + bytes(50), headers={"content-type": "image/png"}), 415, "unsupported-format")
    problem(post(client, encode(scene(), "JPEG")[:-200]), 422, "undecodable-image")
    problem(post(client, png_header(10_000, 10_000)), 413, "too-many-pixels")
    problem(post(client, encode(Image.new("1", (10_000, 10_000)))), 413, "too-many-pixels")
    problem(post(client, encode(Image.new("L", (1, 5000)))), 422, "undecodable-image")
    problem(post(client, many_scans(60)), 422, "undecodable-image")
    assert labels(post(client))


@pytest.mark.parametrize("announced", [True, False])
def test_too_many_bytes(client: TestClient, announced: bool) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(100):
            sent += 100_000
            yield bytes(100_000)

    headers = {"content-length": "10000000"} if announced else {}
    response = client.post("/v1/classify", content=chunks(), headers=headers)
    assert "1,000,000" in problem(response, 413, "too-many-bytes")["detail"]


def test_exactly_the_limit_of_bytes(client: TestClient, settings: Settings) -> None:
    padded = PICTURE + bytes(settings.max_body_bytes - len(PICTURE))  # decoders ignore what follows the end
    assert labels(post(client, padded)) == labels(post(client))
    problem(post(client, padded + b"\0"), 413, "too-many-bytes")


def test_forms(client: TestClient) -> None:
    problem(client.post("/v1/classify", files={"picture": PICTURE}), 400, "no-file")
    problem(client.post("/v1/classify", files={"file": ("a.png", b"")}), 400, "empty-image")
    problem(client.post("/v1/classify", files=[("file", PICTURE)] * 5), 413, "too-many-files")
    problem(client.post("/v1/classify", files={"file": bytes(2_000_000)}), 413, "too-many-bytes")
    assert len(labels(client.post("/v1/classify", files=[("file", PICTURE)] * 4))) == 4
    multipart = {"content-type": "multipart/form-data; boundary=x"}
    whole = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + PICTURE + b"\r\n--x--\r\n"
    assert labels(post(client, whole, headers=multipart)) == labels(post(client))
    for broken in (b"", b"--x", b"nonsense", whole[:-30], whole[5:], whole.replace(b"--x--", b"--y--")):
        problem(post(client, broken, headers=multipart), 400, "malformed-form")
    problem(post(client, whole, headers={"content-type": "multipart/form-data"}), 400, "malformed-form")


def test_of_several_files_the_bad_one_is_named(client: TestClient) -> None:
    files = [("file", ("good.png", PICTURE)), ("file", ("notes.txt", b"text"))]
    document = problem(client.post("/v1/classify", files=files), 415, "unsupported-format")
    assert document["index"] == 1
    assert document["detail"].startswith("File 2 (notes.txt): ")


@pytest.mark.parametrize("top_k", ["0", "-1", "many", "1.5", ""])
def test_bad_parameters(client: TestClient, top_k: str) -> None:
    assert "top_k" in problem(post(client, params={"top_k": top_k}), 400, "invalid-parameter")["detail"]


def test_unknown_places(client: TestClient) -> None:
    problem(post(client, path="/v1/models/other/classify"), 404, "unknown-model")
    problem(post(client, path="/v1/models/colours/versions/2/classify"), 404, "unknown-version")
    problem(client.get("/v1/models/other"), 404, "unknown-model")
    problem(client.get("/nowhere"), 404, "not-found")
    problem(client.get("/ui/nothing.js"), 404, "not-found")
    problem(client.get("/ui/%2e%2e/app.py"), 404, "not-found")
    response = client.get("/v1/classify")
    problem(response, 405, "method-not-allowed")
    assert response.headers["allow"] == "POST"


@FUZZ
@given(
    format=st.sampled_from(FORMATS),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    cut=st.floats(0, 1),
)
def test_damaged_pictures_never_break_the_server(
    client: TestClient, format: str, edits: list[tuple[float, int]], cut: float
) -> None:
    data = bytearray(encode(scene(), format))
    for place, value in edits:
        data[int(place * len(data))] = value
    response = post(client, bytes(data[: int(cut * len(data)) or 1] if cut < 0.5 else data))
    assert response.status_code in (200, 413, 415, 422), response.text


@FUZZ
@given(
    body=st.lists(
        st.sampled_from([b"--x", b"--", b"\r\n", b"Content-Disposition: form-data; ", b'name="file"', b"; filename=a"])
        | st.binary(max_size=8)
    )
)
def test_damaged_forms_never_break_the_server(client: TestClient, body: list[bytes]) -> None:
    response = post(client, b"".join(body), headers={"content-type": "multipart/form-data; boundary=x"})
    assert response.status_code in (400, 413, 415, 422), response.text


# ---- everything else ----


def test_models(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["default"] == "colours"
    (model,) = listed["models"]
    assert model == client.get("/v1/models/colours").json()
    assert model["labels"] == LABELS
    assert model["input_size"] == [3, 32, 32]
    assert model["versions"] == ["1"]
    assert model["limits"]["body_bytes"] == 1_000_000
    assert listed["index"] == [{"model": "colours", "version": "1", "state": "ready", "reason": ""}]


def test_health(client: TestClient) -> None:
    assert client.get("/health/live").json() == {"live": True}
    assert client.get("/health/ready").json() == {"ready": True}


def test_before_the_model_is_loaded(settings: Settings) -> None:
    early = TestClient(create_app(settings))  # not entered: the application has not been started
    assert early.get("/health/live").status_code == 200
    assert "loading" in problem(early.get("/health/ready"), 503, "unavailable")["detail"]
    response = post(early)
    problem(response, 503, "unavailable")
    assert response.headers["retry-after"]
    problem(early.get("/v1/models"), 503, "unavailable")
    problem(early.get("/v1/models/colours"), 503, "unavailable")


def test_while_draining(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = served_by(client)
    monkeypatch.setattr(engine, "_draining", False)  # is set back after the test
    assert labels(post(client))
    engine.drain()
    response = client.get("/health/ready")
    assert "stopping" in problem(response, 503, "unavailable")["detail"]
    assert response.headers["connection"] == "close"
    problem(post(client), 503, "unavailable")
    assert client.get("/health/live").status_code == 200


def test_a_model_that_cannot_be_loaded(tmp_path: Path) -> None:
    ended = threading.Event()
    app = create_app(Settings(_env_file=None, model=str(tmp_path)), lambda _: ended.set())
    with TestClient(app) as client:
        assert ended.wait(30)
        assert "could not be loaded" in problem(client.get("/health/ready"), 503, "unavailable")["detail"]
        assert str(tmp_path) not in client.get("/health/ready").text
        assert str(tmp_path) in str(app.state.engine.failure)


def test_an_unexpected_error(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    app = create_app(settings)

    async def fail() -> None:
        raise RuntimeError("secret detail")

    app.add_api_route("/fail", fail)
    with caplog.at_level(logging.ERROR):
        response = TestClient(app).get("/fail")
    assert "secret" not in json.dumps(problem(response, 500, "internal-error"))
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "secret detail" in caplog.text


def test_when_the_client_leaves_its_work_is_dropped(client: TestClient) -> None:
    pool = served_by(client).decoders._pool
    messages = [{"type": "http.request", "body": encode(scene(400, 300))}, {"type": "http.disconnect"}]
    sent = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def run() -> list[Any]:
        release = occupy(pool)
        try:
            scope = {"type": "http", "method": "POST", "path": "/v1/classify", "query_string": b"", "headers": []}
            await client.app(scope, receive, send)  # type: ignore[arg-type]
            await asyncio.sleep(0)
            return [pool._work_queue.get_nowait()]
        finally:
            release.set()

    assert client.portal
    left = client.portal.call(run)
    assert sent[0]["status"] == 499
    assert all(item.future.cancelled() for item in left)


def test_a_full_queue_and_a_deadline_over_http(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = served_by(client)
    large = encode(scene(400, 300))
    release = occupy(engine.decoders._pool)
    try:
        response = post(client, large, headers={"x-request-timeout": "0.05"})
        problem(response, 504, "deadline-exceeded")
        monkeypatch.setattr(engine.decoders, "_max_waiting", 3)
        response = client.post("/v1/classify", files=[("file", large)] * 4)
        problem(response, 429, "queue-full")
        assert int(response.headers["retry-after"]) >= 1
    finally:
        release.set()
    assert labels(post(client, large, headers={"x-request-timeout": "60"}))
    for wrong in ("0", "-1", "soon", "inf", "nan"):
        detail = problem(post(client, headers={"x-request-timeout": wrong}), 400, "invalid-parameter")["detail"]
        assert "X-Request-Timeout" in detail


def test_bodies_take_a_bounded_share_of_memory_and_time(client: TestClient, settings: Settings) -> None:
    # A second application, which is not started: what is refused for its length never gets to a model.
    app = create_app(settings.model_copy(update={"max_held_bytes": 150_000, "deadline_seconds": 0.5}))
    statuses: list[int] = []

    async def request(release: asyncio.Event, size: int) -> None:
        messages = [{"type": "http.request", "body": bytes(size), "more_body": True}]

        async def receive() -> dict[str, Any]:
            if not messages:
                await release.wait()
                return {"type": "http.disconnect"}
            return messages.pop()

        async def send(message: dict[str, Any]) -> None:
            statuses.append(message.get("status", 0))

        scope = {"type": "http", "method": "POST", "path": "/held", "query_string": b"", "headers": []}
        await app(scope, receive, send)  # type: ignore[arg-type]

    async def hold(request: Request) -> PlainResponse:
        await request.body()
        raise AssertionError("the body never ends")

    async def run() -> None:
        release = asyncio.Event()
        alone = asyncio.create_task(request(release, 200_000))  # larger than all may be together, but alone
        await asyncio.sleep(0.01)
        await request(release, 1000)
        assert statuses[0] == 429
        release.set()
        await alone
        statuses.clear()
        release.clear()
        together = asyncio.gather(*(request(release, 40_000) for _ in range(4)))
        await asyncio.sleep(0.01)
        assert statuses == [429, 0]
        release.set()
        await together
        assert statuses == [429, 0, *[499, 0] * 3]
        await request(asyncio.Event(), 1000)  # the rest of it never comes
        assert statuses[-2:] == [504, 0]

    app.add_route("/held", hold, methods=["POST"])
    asyncio.run(run())


@pytest.mark.parametrize("path", ["/", "/docs", *sorted(f"/ui/{path.name}" for path in UI.iterdir())])
def test_pages(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    # Nothing comes from another host, and no inline script or style needs an exception in the policy.
    text = response.text.replace("http://www.w3.org/2000/svg", "")
    assert "http://" not in text
    assert "https://" not in text
    for inline in ("<script>", "<style", " style=", " onclick=", "eval("):
        assert inline not in text
    assert client.head(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/v1/models", "/nowhere", "/openapi.json"])
def test_security_headers(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


def test_the_description(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    protocol = {path for path in document["paths"] if path.startswith("/v2")}
    assert document["paths"].keys() - protocol == {
        "/v1/classify",
        "/v1/models/{model}/classify",
        "/v1/models/{model}/versions/{version}/classify",
        "/v1/explain",
        "/v1/models/{model}/explain",
        "/v1/models/{model}/versions/{version}/explain",
        "/v1/embed",
        "/v1/models/{model}/embed",
        "/v1/models/{model}/versions/{version}/embed",
        "/v1/models",
        "/v1/models/{model}",
        "/health/live",
        "/health/ready",
        "/metrics",
    }
    classify = document["paths"]["/v1/models/{model}/classify"]["post"]
    assert set(classify["responses"]) == {
        "200",
        *map(str, (400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504)),
    }
    assert {"image/jpeg", "image/png", "image/webp", "multipart/form-data"} <= set(classify["requestBody"]["content"])
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                if status != "200":
                    media_type = "application/json" if path in protocol else "application/problem+json"
                    assert list(answer["content"]) == [media_type]
                elif path not in protocol:
                    media_types = {"text/plain"} if path == "/metrics" else {"application/json"}
                    if path.endswith("/explain"):
                        media_types |= {"image/png"}
                    assert set(answer["content"]) == media_types
    text = json.dumps(document)
    assert "HTTPValidationError" not in text
    for name in set(part.split('"')[0] for part in text.split("#/components/schemas/")[1:]):
        assert name in document["components"]["schemas"]


def test_the_service_does_not_know_the_trainer() -> None:
    for path in Path(service.__file__).parent.rglob("*.py"):
        assert not re.search(r"^\s*(import|from) training\b", path.read_text(), re.MULTILINE), path
