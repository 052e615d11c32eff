"""A memory that begins with what its model's associative head knows, and is taught more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ait.classifier import load
from ait_lite.checkpoint import update_config
from tests.support.images.training_images import CLASSES
from tests.support.models.small_checkpoints import save_small_checkpoint
from tests.support.servers.memories_client import coloured, create, recall, serving, teach
from tests.support.servers.service_client import problem

PRIORS = 4 * len(CLASSES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "recalling"
    return save_small_checkpoint(folder, name="ait_tiny_patch4_32", head="associative")


@pytest.fixture(scope="module")
def client(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with serving(folder, tmp_path_factory.mktemp("store") / "memories.sqlite3") as client:
        yield client


def test_it_answers_as_the_model_and_learns_a_class_beside_the_others(
    client: TestClient, folder: Path, tmp_path: Path
) -> None:
    made = create(client, "more", start="head", keep="nothing")
    assert (made["examples"], made["readout"], made["unknown_level"]) == (PRIORS, "associative", 0)
    assert made["labels"] == dict.fromkeys(sorted(CLASSES), 4)
    image = tmp_path / "image.png"
    image.write_bytes(coloured("red"))
    answer = recall(client, "more", image.read_bytes())
    scores = {each["label"]: each["score"] for each in answer["labels"]}
    assert scores == pytest.approx(dict(load(folder).predict(image)), abs=2e-3)
    assert (answer["unknown"], answer["evidence"][0]["id"][:6]) == (None, "prior:")

    assert teach(client, "more", "first", "new", image.read_bytes()).status_code == 201
    assert recall(client, "more", image.read_bytes())["labels"][0]["label"] == "new"
    again = client.put("/v1/memories/more", json={"start": "head", "keep": "nothing"})
    assert (again.status_code, again.json()["examples"]) == (200, PRIORS + 1)
    assert client.delete("/v1/memories/more/examples", params={"label": CLASSES[0]}).json()["forgotten"] == 4
    gone = recall(client, "more", image.read_bytes(), params={"top_k": 10})["labels"]
    assert sorted(each["label"] for each in gone) == sorted([*CLASSES[1:], "new"])
    assert client.delete("/v1/memories/more/examples", params={"source": "head"}).json()["forgotten"] == PRIORS - 4
    assert client.get("/v1/memories/more").json()["labels"] == {"new": 1}
    assert client.post("/v1/memories/more/verify").json()["equal"]


def test_priors_are_not_judged_as_if_they_were_images(client: TestClient) -> None:
    create(client, "judged", start="head")
    health = client.get("/v1/memories/judged/health").json()
    assert (health["judged"], health["accuracy"], health["compared"]) == (0, None, 0)
    assert {each["accuracy"] for each in health["labels"]} == {None}
    assert [health[each] for each in ("advice", "confusions", "doubts", "near_duplicates")] == [[]] * 4
    refused = problem(client.post("/v1/memories/judged/rebind"), 409, "memory-conflict")
    assert "Forget that (?source=head)" in refused["detail"]
    for number in range(2):
        teach(client, "judged", f"red-{number}", "new", coloured("red", number))
    health = client.get("/v1/memories/judged/health").json()
    assert (health["judged"], health["accuracy"], health["compared"]) == (2, 1.0, 2)
    assert [each["label"] for each in health["advice"]] == ["new"]


def test_the_head_decides_how_it_answers(client: TestClient) -> None:
    told = problem(client.put("/v1/memories/mine", json={"start": "head", "beta": 3}), 400, "invalid-body")
    assert "start is head, which decides beta. Leave that out." in str(told)
    problem(client.get("/v1/memories/mine"), 404, "unknown-memory")


def test_a_head_with_labels_that_no_memory_may_have(folder: Path, tmp_path: Path) -> None:
    save_small_checkpoint(tmp_path / "odd", name="ait_tiny_patch4_32", head="associative")
    update_config(tmp_path / "odd", {"label_names": ["¬cat", "x" * 200, "c"]})
    with serving(tmp_path / "odd", tmp_path / "memories.sqlite3") as client:
        problem(client.put("/v1/memories/mine", json={"start": "head"}), 400, "invalid-memory")
        assert client.get("/v1/memories").json()["memories"] == []
