"""Classify images: answers, and refusals of what cannot be answered."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

import ait
from tests.support.images.service_images import FORMATS, encode, many_scans, png_header, scene
from tests.support.servers.service_client import IMAGE, LABELS, labels, occupy, post, problem, served_by

FUZZ = hypothesis_settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


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
    images = [encode(image, format) for format in FORMATS for image in (scene(),)]
    paths = [tmp_path / f"{index}.bin" for index in range(len(images))]
    for path, data in zip(paths, images, strict=True):
        path.write_bytes(data)
    raw = [labels(post(client, data))[0] for data in images]
    files = [("file", (f"{index}.dat", data)) for index, data in enumerate(images)]
    response = client.post("/v1/classify", files=files)
    assert [each["index"] for each in response.json()["predictions"]] == [0, 1, 2]
    on_disk = [dict(each) for each in ait.load(model_folder).predict(paths)]
    for one, many, disk in zip(raw, labels(response), on_disk, strict=True):
        expected = pytest.approx({each["label"]: each["score"] for each in one}, abs=2e-6)
        assert {each["label"]: each["score"] for each in many} == expected
        assert disk == expected


def test_other_fields_of_a_form_are_skipped(client: TestClient) -> None:
    response = client.post("/v1/classify", data={"note": "x" * 1000}, files={"file": ("a.png", IMAGE)})
    assert labels(response) == labels(post(client))


def test_a_turned_photograph_equals_the_upright_one(client: TestClient) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = encode(scene().transpose(Image.Transpose.ROTATE_90), exif=exif)
    assert labels(post(client, turned)) == labels(post(client))


def test_unreadable_images(client: TestClient) -> None:
    problem(post(client, b""), 400, "empty-image")
    problem(post(client, b"just text"), 415, "unsupported-format")
    problem(post(client, b"GIF89a" + bytes(50), headers={"content-type": "image/png"}), 415, "unsupported-format")
    problem(post(client, encode(scene(), "JPEG")[:-200]), 422, "undecodable-image")
    problem(post(client, png_header(10_000, 10_000)), 413, "too-many-pixels")
    problem(post(client, encode(Image.new("1", (10_000, 10_000)))), 413, "too-many-pixels")
    problem(post(client, encode(Image.new("L", (1, 5000)))), 422, "undecodable-image")
    problem(post(client, many_scans(60)), 422, "undecodable-image")
    assert labels(post(client))


@pytest.mark.parametrize("top_k", ["0", "-1", "many", "1.5", ""])
def test_bad_parameters(client: TestClient, top_k: str) -> None:
    assert "top_k" in problem(post(client, params={"top_k": top_k}), 400, "invalid-parameter")["detail"]


@FUZZ
@given(
    format=st.sampled_from(FORMATS),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=12),
    cut=st.floats(0, 1),
)
def test_damaged_images_never_break_the_server(
    client: TestClient, format: str, edits: list[tuple[float, int]], cut: float
) -> None:
    data = bytearray(encode(scene(), format))
    for place, value in edits:
        data[int(place * len(data))] = value
    response = post(client, bytes(data[: int(cut * len(data)) or 1] if cut < 0.5 else data))
    assert response.status_code in (200, 413, 415, 422), response.text


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
