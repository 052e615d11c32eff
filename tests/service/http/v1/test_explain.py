"""Explanations say what the library says; confidence is calibrated where the checkpoint can."""

from __future__ import annotations

import base64
import json
import shutil
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

import ait.interpret.explain
from ait_lite.checkpoint import WEIGHTS
from service.model_process.classifier import Classifier
from service.repository.folders import ModelError, locate
from tests.support.models.explained_models import IMAGE, NAMES, TEMPERATURE, ask, refused
from tests.support.servers.memories_client import serving
from tests.support.servers.service_client import problem


def test_the_answer_is_what_the_library_says(
    explaining: TestClient, repository: Path, expected: ait.interpret.explain.Explanation
) -> None:
    answer = ask(explaining)
    assert (answer["model"], answer["version"], answer["calibrated"]) == ("ait", "1", True)
    assert answer["grid"] == [8, 8]
    assert answer["region"] == pytest.approx([1 / 6, 0, 5 / 6, 1], abs=1e-6)
    found = expected.patch_map
    assert found is not None
    assert answer["map"]["index"] == found.label
    assert answer["map"]["label"] == NAMES[found.label]
    assert answer["map"]["method"] == "contribution"
    np.testing.assert_allclose(answer["map"]["values"], found.values.flatten(), atol=1e-4)
    assert sum(answer["map"]["values"]) + answer["map"]["rest"] == pytest.approx(answer["map"]["logit"], abs=1e-3)
    assert answer["map"]["logit"] == pytest.approx(found.logit, abs=1e-4)
    assert len(answer["blocks"]) == len(expected.blocks) == 2
    for block, known in zip(answer["blocks"], expected.blocks, strict=True):
        assert block["priors"] == 32
        np.testing.assert_allclose(block["energy_before"], known.energy_before, rtol=1e-4)
        np.testing.assert_allclose(block["energy_after"], known.energy_after, rtol=1e-4)
        np.testing.assert_allclose(block["energy"], known.energy, rtol=1e-4)
        np.testing.assert_allclose(block["responsibilities"], known.responsibilities, atol=1e-3)
        assert all(after <= before + 1e-4 for before, after in zip(*list(block.values())[1:3], strict=True))
        np.testing.assert_array_equal([[prior for prior, _ in patch] for patch in block["recalled"]], known.priors)
        shares = [[share for _, share in patch] for patch in block["recalled"]]
        np.testing.assert_allclose(shares, known.weights, atol=1e-4)
    without = expected.without_retrieval
    assert without is not None
    assert answer["without_memory"]["logit"] == pytest.approx(float(without[found.label]), abs=1e-4)
    scores = (without / TEMPERATURE).softmax(0)
    assert [each["label"] for each in answer["without_memory"]["labels"]] == [
        NAMES[i] for i in scores.argsort().flip(0)
    ]
    assert answer["without_memory"]["labels"][0]["score"] == pytest.approx(float(scores.max()), abs=1e-5)
    assert answer["overlays"] is None
    assert set(answer["timing_ms"]) == {"queue", "decode", "infer"}


def test_scores_are_those_of_classify_and_of_files(
    explaining: TestClient, repository: Path, tmp_path: Path, expected: ait.interpret.explain.Explanation
) -> None:
    scores = (expected.logits / TEMPERATURE).softmax(0)
    labels = ask(explaining)["labels"]
    assert [each["label"] for each in labels] == [NAMES[index] for index in scores.argsort(descending=True)]
    assert [each["score"] for each in labels] == pytest.approx(scores.sort(descending=True).values.tolist(), abs=1e-5)
    classified = explaining.post("/v1/classify", content=IMAGE).json()
    assert classified["calibrated"] is True
    assert classified["predictions"][0]["labels"] == labels
    (tmp_path / "image.png").write_bytes(IMAGE)
    predicted = dict(ait.load(repository / "ait" / "1").predict(tmp_path / "image.png"))
    assert predicted == pytest.approx({each["label"]: each["score"] for each in labels}, abs=2e-6)
    assert ask(explaining, params={"top_k": 2})["labels"] == labels[:2]


def test_examples_are_the_nearest_of_the_three_best_classes(
    explaining: TestClient, repository: Path, expected: ait.interpret.explain.Explanation
) -> None:
    from ait.interpret.exemplars import load_exemplars

    exemplars = load_exemplars(repository / "ait" / "1")
    assert exemplars is not None
    answer = ask(explaining)
    assert [(each["label"], each["score"]) for each in answer["examples"]] == [
        (each["label"], each["score"]) for each in answer["labels"][:3]
    ]
    for each in answer["examples"]:
        known = exemplars.nearest(expected.features, expected.logits, NAMES.index(each["label"]), 4)
        assert [example["name"] for example in each["nearest"]] == [exemplars.names[near.index] for near in known]
        assert len(known) == 3
        for example, near in zip(each["nearest"], known, strict=True):
            assert example["similarity"] == pytest.approx(near.similarity, abs=1e-3)
            kind, _, data = example["thumbnail"].partition(",")
            assert kind == "data:image/jpeg;base64"
            assert base64.b64decode(data) == exemplars.thumbnails[near.index]
            assert (example["width"], example["height"]) == (32, 32)


@pytest.mark.parametrize(("text", "index"), [("bee", 1), ("0", 0), ("3", 3)])
def test_any_class_can_be_explained(explaining: TestClient, text: str, index: int) -> None:
    answer = ask(explaining, params={"class": text})
    assert (answer["map"]["index"], answer["map"]["label"]) == (index, NAMES[index])


@pytest.mark.parametrize("text", ["dog", "4", "-1", "", "٣", "1.0", "9" * 5000])
def test_an_unknown_class_is_refused(explaining: TestClient, text: str) -> None:
    response = explaining.post("/v1/explain", content=IMAGE, params={"class": text})
    assert "index from 0 to 3" in refused(response, 400, "invalid-parameter")


def test_overlays_are_images(explaining: TestClient) -> None:
    overlays = ask(explaining, params={"overlay": "true"})["overlays"]
    assert len(overlays["energy"]) == 2
    for uri in (overlays["map"], *overlays["energy"]):
        kind, _, data = uri.partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(BytesIO(base64.b64decode(data))) as image:
            assert image.size == (256, 256)


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("image/png", "image/png"),
        ("image/png, */*;q=0.1", "image/png"),
        ("*/*", "application/json"),
        ("application/json, image/png", "application/json"),
    ],
)
def test_the_overlay_alone_is_a_matter_of_accept(explaining: TestClient, accept: str, media_type: str) -> None:
    response = explaining.post("/v1/models/ait/explain", content=IMAGE, headers={"Accept": accept})
    assert response.status_code == 200
    assert response.headers["content-type"] == media_type
    if media_type == "image/png":
        uri = ask(explaining, params={"overlay": "1"})["overlays"]["map"]
        assert response.content == base64.b64decode(uri.partition(",")[2])


def test_a_plain_vision_transformer_has_a_map_and_no_memory(explaining: TestClient) -> None:
    answer = ask(explaining, "/v1/models/vit/explain")
    assert (answer["grid"], answer["blocks"], answer["examples"]) == ([2, 2], [], [])
    assert answer["calibrated"] is False
    assert answer["map"]["method"] == "contribution"
    overlays = ask(explaining, "/v1/models/vit/versions/1/explain", params={"overlay": "true"})["overlays"]
    assert overlays["energy"] == []


def test_a_head_with_a_memory_of_classes_tells_what_it_recalled(explaining: TestClient) -> None:
    answer = ask(explaining, "/v1/models/recalling/explain", params={"top_k": 3})
    assert [each["label"] for each in answer["class_recall"]] == [each["label"] for each in answer["labels"]]
    for recall, label in zip(answer["class_recall"], answer["labels"], strict=True):
        assert len(recall["recalled"]) == 4
        assert sum(recall["recalled"]) == pytest.approx(label["score"], abs=1e-3)  # there is no temperature
    assert ask(explaining)["class_recall"] is None


def test_a_convolutional_network_has_a_map_of_its_last_cells(explaining: TestClient) -> None:
    answer = ask(explaining, "/v1/models/conv/explain")
    assert answer["map"]["method"] == "gradient"
    assert len(answer["map"]["values"]) == answer["grid"][0] * answer["grid"][1]


def test_exemplars_of_other_weights_are_left_out_and_the_model_answers(explaining: TestClient) -> None:
    answer = ask(explaining, "/v1/models/torn/explain")
    assert answer["examples"] == []
    assert len(answer["blocks"]) == 2


def test_one_image_at_a_time(explaining: TestClient) -> None:
    one = [("file", ("a.png", IMAGE, "image/png"))]
    response = explaining.post("/v1/explain", files=one)
    assert response.json()["map"] == ask(explaining)["map"]
    assert "1 file" in refused(explaining.post("/v1/explain", files=one * 2), 413, "too-many-files")


@pytest.mark.parametrize("path", ["/v1/explain", "/v1/embed"])
@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [(b"", 400, "empty-image"), (b"no image", 415, "unsupported-format"), (IMAGE[:60], 422, "undecodable-image")],
)
def test_what_is_no_image_is_refused(explaining: TestClient, path: str, data: bytes, status: int, kind: str) -> None:
    refused(explaining.post(path, content=data), status, kind)


@pytest.mark.parametrize("action", ["explain", "embed"])
def test_unknown_models_and_versions_are_named(explaining: TestClient, action: str) -> None:
    assert "nobody" in refused(explaining.post(f"/v1/models/nobody/{action}", content=IMAGE), 404, "unknown-model")
    response = explaining.post(f"/v1/models/ait/versions/9/{action}", content=IMAGE)
    assert "9" in refused(response, 404, "unknown-version")


@pytest.mark.parametrize(("name", "value"), [("overlay", "maybe"), ("top_k", "0"), ("top_k", "x")])
def test_parameters_are_checked(explaining: TestClient, name: str, value: str) -> None:
    detail = refused(explaining.post("/v1/explain", content=IMAGE, params={name: value}), 400, "invalid-parameter")
    assert name in detail


def test_models_say_whether_they_are_calibrated(explaining: TestClient) -> None:
    models = {each["name"]: each["calibrated"] for each in explaining.get("/v1/models").json()["models"]}
    assert models == {"ait": True, "conv": False, "recalling": False, "torn": False, "vit": False}


def test_answers_are_as_described(explaining: TestClient) -> None:
    from service.http.v1.schemas import Embeddings, Explanation

    for name in ("ait", "recalling", "vit", "conv"):
        answer = ask(explaining, f"/v1/models/{name}/explain", params={"overlay": "true"})
        assert json.loads(Explanation.model_validate(answer).model_dump_json()) == answer
        answer = ask(explaining, f"/v1/models/{name}/embed")
        assert json.loads(Embeddings.model_validate(answer).model_dump_json()) == answer
    paths = explaining.get("/openapi.json").json()["paths"]
    operation = paths["/v1/models/{model}/explain"]["post"]
    assert {each["name"] for each in operation["parameters"]} == {
        "model",
        "class",
        "top_k",
        "overlay",
        "X-Request-Timeout",
    }
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "image/png"}
    assert set(operation["responses"]) == {"200", *map(str, (400, 401, 403, 404, 413, 415, 422, 429, 500, 503, 504))}


def test_a_temperature_that_is_none_keeps_a_model_from_loading(repository: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(repository / "vit" / "1", tmp_path / "vit")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"temperature": "warm"}))
    with pytest.raises(ModelError, match=r"temperature in config\.json is 'warm'"):
        Classifier(locate(folder))


@pytest.mark.parametrize(
    ("explain", "words"), [("off", ["AIT_EXPLAIN=off", "AIT_EXPLAIN=auto"]), ("auto", ["here: "])]
)
def test_the_refusal_says_what_keeps_a_model_from_being_explained(
    model_folder: Path, graph_folder: Path, tmp_path: Path, explain: str, words: list[str]
) -> None:
    folder, runtime = model_folder, "torch"
    if explain == "auto":  # without the weights there is nothing to set
        folder = Path(shutil.copytree(graph_folder, tmp_path / "colours"))
        (folder / WEIGHTS).unlink()
        runtime = "onnxruntime"
    with serving(folder, tmp_path / "memories.sqlite3", explain=explain, runtime=runtime) as client:
        detail = problem(client.post("/v1/explain", content=IMAGE), 400, "no-explanation")["detail"]
    assert all(each in detail for each in words)
    assert ("AIT_EXPLAIN" in detail) == (explain == "off")
