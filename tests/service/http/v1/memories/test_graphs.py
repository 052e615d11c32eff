"""A memory goes on where its model is served as a graph without weights, and where it is the checkpoint again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ait_lite.checkpoint import WEIGHTS, fingerprint
from service.memories.records import Binding, Options
from service.memories.stores.sqlite import SqliteStore
from tests.support.models.prepared_models import write_prepared_classifier
from tests.support.processes.waiting import wait_for
from tests.support.servers.memories_client import COLOURS, coloured, create, recall, serving, teach, teach_colours
from tests.support.servers.service_client import problem
from tests.support.stress.memory_histories import QUOTAS

LABELS = sorted(COLOURS)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "memories.sqlite3"


@pytest.fixture(scope="module")
def checkpoint(store: Path, model_folder: Path) -> Iterator[TestClient]:
    with serving(model_folder, store) as client:
        yield client


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph without features."""
    folder = write_prepared_classifier(tmp_path_factory.mktemp("graphs") / "blind", LABELS, features=False)
    (folder / WEIGHTS).unlink()
    return folder


@pytest.fixture(scope="module")
def graphs(
    store: Path, prepared_folder: Path, blind: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TestClient]:
    """A server of graphs alone, beside the one of the checkpoint."""
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(prepared_folder, root / "colours" / "1")
    shutil.copytree(blind, root / "blind" / "1")
    options = {"models": str(root), "model": "colours", "runtime": "onnxruntime", "reload_seconds": 0}
    with serving(prepared_folder, store, **options) as client:
        yield client


def labels(answer: dict[str, object]) -> dict[str, float]:
    found = answer["labels"]
    assert isinstance(found, list)
    return {each["label"]: each["score"] for each in found}


def test_what_a_checkpoint_was_taught_its_graph_knows_and_the_other_way_round(
    checkpoint: TestClient, graphs: TestClient, prepared_folder: Path
) -> None:
    assert not (prepared_folder / WEIGHTS).exists()
    create(checkpoint, "shared")
    teach_colours(checkpoint, "shared", 3)
    assert graphs.get("/v1/memories/shared").json()["fingerprint"] == fingerprint(prepared_folder)
    for label in COLOURS:
        asked = coloured(label, 9)
        one, other = recall(checkpoint, "shared", asked), recall(graphs, "shared", asked)
        assert labels(other) == pytest.approx(labels(one), abs=1e-3)
        assert [each["id"] for each in other["evidence"]] == [each["id"] for each in one["evidence"]]

    taught = teach(graphs, "shared", "late", "black", coloured("red", 40))
    revision = {"memory-revision": taught.headers["memory-revision"]}
    answer = recall(checkpoint, "shared", coloured("red", 40), headers=revision)
    assert (answer["evidence"][0]["id"], answer["evidence"][0]["label"]) == ("late", "black")
    assert graphs.post("/v1/memories/shared/verify").json()["equal"]
    again = teach(checkpoint, "shared", "late", "black", coloured("red", 40))
    assert again.json()["outcome"] == "unchanged"


def is_model(client: TestClient, name: str) -> bool:
    return client.get(f"/v2/models/{name}").status_code == 200


def test_a_memory_of_a_graph_is_a_model(checkpoint: TestClient, graphs: TestClient) -> None:
    create(graphs, "model")
    teach_colours(graphs, "model", 2)
    for client in (graphs, checkpoint):
        wait_for(partial(is_model, client, "model"), "the memory to answer as a model")
    asked = coloured("green", 30)
    classified = graphs.post("/v1/models/model/classify", content=asked).json()
    assert classified["predictions"][0]["labels"][0]["label"] == "green"
    one, other = (
        np.array(each.post("/v1/models/model/embed", content=asked).json()["embeddings"][0]["features"])
        for each in (checkpoint, graphs)
    )
    np.testing.assert_allclose(other, one, atol=1e-4)
    infer = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0.1] * 3072}]}
    found = [each.post("/v2/models/model/infer", json=infer).json()["outputs"] for each in (checkpoint, graphs)]
    for theirs, ours in zip(*found, strict=True):
        assert ours["name"] == theirs["name"]
        assert ours["data"] == pytest.approx(theirs["data"], abs=1e-2)


def test_a_graph_without_features_says_what_would_help(graphs: TestClient, store: Path, blind: Path) -> None:
    refusal = graphs.put("/v1/memories/of-blind", json={"model": "blind"})
    problem(refusal, 409, "memory-conflict")
    assert "ait export" in refusal.json()["detail"]
    # Taught while the checkpoint was served, which may give what its graph does not.
    SqliteStore(store).create("sighted", Options(), Binding("blind", fingerprint(blind), 48), QUOTAS)
    refusal = graphs.post("/v1/memories/sighted/recall", content=coloured("red"))
    problem(refusal, 409, "memory-conflict")
    assert "Serve the checkpoint" in refusal.json()["detail"]
    assert graphs.get("/v1/memories/sighted").json()["examples"] == 0
