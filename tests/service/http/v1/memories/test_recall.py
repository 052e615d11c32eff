"""Questions to memories over HTTP: corrected, with negative examples, unknown, and as models."""

from __future__ import annotations

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.support.images.service_images import encode, scene
from tests.support.processes.waiting import wait_for
from tests.support.servers.memories_client import COLOURS, coloured, create, recall, teach, teach_colours
from tests.support.servers.service_client import problem


def test_teaching_asking_correcting_and_forgetting(teacher: TestClient) -> None:
    create(teacher, "story")
    empty = recall(teacher, "story", coloured("red"))
    assert (empty["labels"], empty["unknown"], empty["evidence"]) == ([], None, [])
    assert "Nothing" in empty["reason"]
    for label in COLOURS:
        for number in range(3):
            response = teach(teacher, "story", f"{label}-{number}", label, coloured(label, number))
            assert response.status_code == 201, response.text
            assert response.json()["outcome"] == "created"
    revision = int(response.headers["memory-revision"])
    answer = recall(teacher, "story", coloured("green", 9), headers={"memory-revision": str(revision)})
    assert answer["labels"][0]["label"] == "green"
    assert sum(each["score"] for each in answer["labels"]) == pytest.approx(1, abs=1e-4)
    assert answer["unknown"] is None
    assert "19 examples" in answer["reason"]
    assert answer["evidence"][0]["label"] == "green"
    assert answer["evidence"][0]["thumbnail"]
    assert answer["without_strongest"]["id"].startswith("green-")

    corrected = teacher.patch("/v1/memories/story/examples/green-0", json={"label": "lawn"})
    assert corrected.json()["label"] == "lawn"
    assert teacher.get("/v1/memories/story").json()["labels"] == {"blue": 3, "green": 2, "lawn": 1, "red": 3}
    assert recall(teacher, "story", coloured("green", 0))["evidence"][0]["label"] == "lawn"

    forgotten = teacher.delete("/v1/memories/story/examples/green-0").json()
    assert forgotten["forgotten"] == 1
    problem(teacher.get("/v1/memories/story/examples/green-0"), 404, "unknown-example")
    assert teacher.delete("/v1/memories/story/examples", params={"label": "green"}).json()["forgotten"] == 2
    answer = recall(teacher, "story", coloured("green", 9))
    assert {each["label"] for each in answer["labels"]} == {"blue", "red"}
    verified = teacher.post("/v1/memories/story/verify").json()
    assert (verified["equal"], verified["erased"]) == (True, True)


def test_a_negative_example_takes_its_label_off_what_is_like_it(teacher: TestClient) -> None:
    create(teacher, "negative")
    teach_colours(teacher, "negative", 2)
    strange = encode(scene(32, 32))
    before = recall(teacher, "negative", strange)["labels"]
    wrong = before[0]["label"]
    teach(teacher, "negative", "strange", wrong, strange)
    response = teacher.patch("/v1/memories/negative/examples/strange", json={"not": wrong})
    assert (response.json()["label"], response.json()["negative"]) == (wrong, True)
    after = recall(teacher, "negative", strange)
    assert after["labels"][0]["label"] != wrong
    assert {each["label"] for each in after["labels"]} == set(COLOURS)
    assert after["evidence"][0]["negative"]
    assert after["evidence"][0]["weight"] < 0
    assert teacher.get("/v1/memories/negative").json()["negatives"] == {wrong: 1}
    for wrong_body in ({}, {"not_": wrong}):
        problem(teacher.patch("/v1/memories/negative/examples/strange", json=wrong_body), 400, "invalid-body")
    problem(teacher.patch("/v1/memories/negative/examples/strange", json={"label": "¬x"}), 400, "invalid-memory")


def test_unknown_is_said_once_it_can_be_promised(teacher: TestClient) -> None:
    create(teacher, "unknown", unknown_level=0.05)
    teach_colours(teacher, "unknown", 9)
    known = recall(teacher, "unknown", coloured("blue", 50))
    assert known["unknown"] is False
    assert known["p_value"] > 0.05
    rng = np.random.default_rng(0)
    noise = encode(Image.fromarray(rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)))
    strange = recall(teacher, "unknown", noise)
    assert strange["unknown"] is True
    assert strange["p_value"] <= 0.05
    health = teacher.get("/v1/memories/unknown/health").json()
    assert health["judged"] == 27
    assert {each["label"]: each["examples"] for each in health["labels"]} == dict.fromkeys(COLOURS, 9)
    assert health["accuracy"] > 0.9
    assert 0 < health["effective_dimension"] <= health["width"]


def test_the_route_of_recalls_takes_posts_alone(teacher: TestClient) -> None:
    response = teacher.get("/v1/memories/none/recall")
    assert response.status_code == 405
    assert response.headers["allow"] == "POST"


@pytest.mark.parametrize("asked", ["top_k=0", "top_k=1001", "top_k=two", "evidence=-1", "evidence=51", "evidence="])
def test_a_recall_says_which_parameter_is_wrong(teacher: TestClient, asked: str) -> None:
    detail = problem(teacher.post(f"/v1/memories/none/recall?{asked}", content=b""), 400, "invalid-parameter")
    assert asked.partition("=")[0] in detail["detail"]


def test_a_recall_refuses_what_it_does_not_know(teacher: TestClient) -> None:
    problem(teacher.post("/v1/memories/none/recall?colour=red", content=b""), 400, "unknown-parameter")
    for revision in ("-1", "seven", str(2**62 + 1)):
        response = teacher.post("/v1/memories/none/recall", content=b"", headers={"memory-revision": revision})
        assert "Memory-Revision" in problem(response, 400, "invalid-parameter")["detail"]


def test_a_memory_answers_as_a_model(teacher: TestClient) -> None:
    create(teacher, "classifier")
    teach_colours(teacher, "classifier", 4)

    def listed() -> list[str]:
        return [each["name"] for each in teacher.get("/v1/models").json()["models"]]

    wait_for(lambda: "classifier" in listed(), "the memory to be listed")
    description = teacher.get("/v1/models/classifier").json()
    assert description["labels"] == sorted(COLOURS)
    assert (description["memory"], teacher.get("/v1/models/colours").json()["memory"]) == (True, False)
    asked = coloured("green", 30)
    classified = teacher.post("/v1/models/classifier/classify", content=asked).json()
    recalled = recall(teacher, "classifier", asked)
    assert classified["predictions"][0]["labels"][0]["label"] == "green"
    for ours, theirs in zip(classified["predictions"][0]["labels"], recalled["labels"], strict=True):
        assert ours["label"] == theirs["label"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)
    metadata = teacher.get("/v2/models/classifier").json()
    assert [each["shape"] for each in metadata["outputs"]] == [[-1, 3], [-1, 3]]
    infer = {"inputs": [{"name": "pixels", "datatype": "FP32", "shape": [1, 3, 32, 32], "data": [0.1] * 3072}]}
    outputs = teacher.post("/v2/models/classifier/infer", json=infer).json()["outputs"]
    assert {each["name"] for each in outputs} == {"logits", "probabilities"}
    problem(teacher.get("/v1/models/none"), 404, "unknown-model")
