"""The routes that reach a model, over HTTP, in every runtime that is installed: all answer as the library does."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from ait_lite.runtimes import GRAPH_RUNTIMES, Agreement, RuntimeUnavailable, check_available
from service.model_process.classifier import Classifier
from service.model_process.mixed_batch import split
from service.model_process.runtimes.choice import Wanted
from service.repository.folders import locate
from tests.support.images.service_images import scene
from tests.support.servers.memories_client import coloured, create, recall, serving, teach_colours
from tests.support.servers.service_client import labels, post


def _installed(runtime: str) -> bool:
    try:
        check_available(runtime)
    except RuntimeUnavailable:
        return False
    return True


@pytest.fixture(scope="module", params=["torch", *filter(_installed, GRAPH_RUNTIMES)])
def runtime(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(runtime: str, model_folder: Path, graph_folder: Path) -> Path:
    """A checkpoint for torch; for the others a graph, which is loaded in a fraction of the time."""
    return model_folder if runtime == "torch" else graph_folder


@pytest.fixture(scope="module")
def running(runtime: str, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server of the model in the runtime; its store is its own, for a memory would show among others' models."""
    store = tmp_path_factory.mktemp("store") / "memories.sqlite3"
    with serving(folder, store, runtime=runtime, max_batch=4) as served:
        yield served


@pytest.fixture(scope="module")
def expected(runtime: str, folder: Path) -> Classifier:
    """The model without a server; graphs are run in ONNX Runtime."""
    if runtime == "torch":
        return Classifier(locate(folder))
    return Classifier(locate(folder), wanted=Wanted("onnxruntime"), use_torch=False)


def series(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    """Read the values of a metric of runtimes: by runtime, precision, and whatever else labels tell."""
    return {
        (labels.pop("runtime"), labels.pop("precision"), *labels.values()): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
        for labels in [{key: each for key, each in sample.labels.items() if key not in ("worker", "model", "version")}]
    }


def test_its_model_tells_the_runtime(running: TestClient, runtime: str) -> None:
    told = running.get("/v1/models/colours").json()["runtime"]
    assert (told["name"], told["precision"], told["reason"]) == (runtime, "fp32", "asked for")


def test_images_are_classified(running: TestClient, expected: Classifier) -> None:
    right = dict(expected.classify([scene()])[0])
    found = [{each["label"]: each["score"] for each in image} for image in labels(post(running))]
    assert found == [pytest.approx(right, abs=1e-3)]


def test_images_are_embedded(running: TestClient, expected: Classifier) -> None:
    (embedding,) = post(running, path="/v1/embed").json()["embeddings"]
    right = expected.features(split([expected.prepare(scene())]))[0]
    found = np.array(embedding["features"])
    np.testing.assert_allclose(found / np.linalg.norm(found), right / np.linalg.norm(right), atol=1e-3)


def test_tensors_are_answered(running: TestClient, expected: Classifier) -> None:
    pixels = np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)
    tensor = {"name": "pixels", "shape": [3, 3, 32, 32], "datatype": "FP32", "data": pixels.ravel().tolist()}
    outputs = running.post("/v2/models/colours/infer", json={"inputs": [tensor]}).json()["outputs"]
    found = next(each for each in outputs if each["name"] == "logits")
    right = expected.logits(split(list(pixels)))
    np.testing.assert_allclose(np.reshape(found["data"], found["shape"]), right, atol=1e-3)


def test_a_memory_answers(running: TestClient) -> None:
    create(running, "runtimes")
    teach_colours(running, "runtimes", 4)
    assert recall(running, "runtimes", coloured("green", 9))["labels"][0]["label"] == "green"


def test_metrics_tell_the_runtime(running: TestClient, runtime: str) -> None:
    assert post(running).status_code == 200
    samples = [
        sample
        for family in text_string_to_metric_families(running.get("/metrics").text)
        for sample in family.samples
        if sample.labels.get("model") == "colours"
    ]
    answering = [each.labels["runtime"] for each in samples if each.name == "ait_model_runtime" and each.value == 1]
    assert answering == [runtime]
    assert any(each.name == "ait_batch_size_count" and each.value > 0 for each in samples)


def test_a_choice_is_told_with_its_figures_wherever_it_is_told(
    graph_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(graph_folder, tmp_path / "models" / "colours" / "1")
    (tmp_path / "models" / "colours" / "serving.json").write_text('{"runtime": "auto", "precision": "auto"}')
    options = {"model": "colours", "models": str(tmp_path / "models"), "runtime": "openvino", "reload_seconds": 0}
    caplog.set_level("INFO", "service")
    with serving(graph_folder, tmp_path / "memories.sqlite3", **options) as client:
        told = client.get("/v1/models/colours").json()["runtime"]
        answers = series(client, "ait_model_runtime")
        rates = series(client, "ait_model_runtime_images_per_second")
        figures = series(client, "ait_model_runtime_agreement")
    lines = [record.getMessage() for record in caplog.records if record.name == "service.models.served_model"]
    assert {("onnxruntime", "int8"), ("onnxruntime", "fp32")} <= answers.keys()
    assert [key for key, value in answers.items() if value == 1] == [(told["name"], told["precision"])]
    assert any(f"it runs in {told['name']} {told['precision']}" in line and told["reason"] in line for line in lines)
    for each in told["tried"]:
        key = (each["runtime"], each["precision"])
        (line,) = [line for line in lines if line.startswith(" ".join(key))]
        assert each["reason"] in line
        assert {batch: rates[*key, batch] for batch in each["images_per_second"]} == each["images_per_second"]
        assert all(f"{rate:g} at batches of {size}" in line for size, rate in each["images_per_second"].items())
        if each["agreement"]:
            assert {name: figures[*key, name] for name in each["agreement"]} == each["agreement"]
            assert str(Agreement(**each["agreement"])) in line
    assert {key[:2] for key in figures} == {
        (each["runtime"], each["precision"]) for each in told["tried"] if each["agreement"]
    }
    assert figures["onnxruntime", "fp32", "same_label"] == 1.0
