"""Memories over HTTP as a whole: made, examined, moved in files and to other models, deleted."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from ait_lite.class_memory import ClassMemory
from service.http.v1.memories.schemas import Recollections
from tests.support.processes.waiting import wait_for
from tests.support.servers.memories_client import COLOURS, coloured, create, recall, serving, teach, teach_colours
from tests.support.servers.service_client import problem


def test_a_memory_is_made_described_and_deleted(teacher: TestClient) -> None:
    made = create(teacher, "made", readout="hopfield", keep="nothing", unknown_level=0.1)
    assert (made["model"], made["readout"], made["keep"], made["unknown_level"]) == (
        "colours",
        "hopfield",
        "nothing",
        0.1,
    )
    assert (made["examples"], made["labels"], made["negatives"]) == (0, {}, {})
    again = teacher.put("/v1/memories/made", json={"readout": "hopfield", "keep": "nothing", "unknown_level": 0.1})
    assert (again.status_code, again.json()) == (200, made)
    assert again.headers["etag"] == f'"{made["revision"]}"'
    problem(teacher.put("/v1/memories/made", json={}), 409, "memory-conflict")
    only_new = {"if-none-match": "*"}
    told = problem(teacher.put("/v1/memories/made", json={}, headers=only_new), 412, "stale-revision")
    assert told["detail"] == "There is a memory 'made' already. Choose another name."
    other = {"if-none-match": '"1"'}
    problem(teacher.put("/v1/memories/made", json={}, headers=other), 400, "invalid-parameter")
    both = only_new | {"if-match": "*"}
    problem(teacher.put("/v1/memories/made", json={}, headers=both), 400, "invalid-parameter")
    for there in ("*", '"0"', '"1"'):
        told = problem(teacher.put("/v1/memories/fresh", json={}, headers={"if-match": there}), 412, "stale-revision")
        assert told["detail"].startswith("There is no memory 'fresh'")
    assert teacher.put("/v1/memories/fresh", json={}, headers=only_new).status_code == 201
    told = problem(teacher.delete("/v1/memories/fresh", headers=only_new), 400, "invalid-parameter")
    assert told["detail"].startswith("If-None-Match is for making")
    for neither in ("fresh", "1", 'W/"1"', '"1", "2"'):
        problem(teacher.delete("/v1/memories/fresh", headers={"if-match": neither}), 400, "invalid-parameter")
    assert teacher.put("/v1/memories/fresh", json={}, headers={"if-match": "*"}).status_code == 200
    assert teacher.delete("/v1/memories/fresh", headers={"if-match": "*"}).status_code == 204
    problem(teacher.put("/v1/memories/others", json={}), 409, "memory-conflict")  # a model's name
    assert teacher.get("/v1/memories/made").json() == made
    assert "made" in [each["name"] for each in teacher.get("/v1/memories").json()["memories"]]
    for revision in (0, made["revision"] - 1):
        told = problem(
            teacher.delete("/v1/memories/made", headers={"if-match": f'"{revision}"'}), 412, "stale-revision"
        )
        assert told["detail"].startswith(f"Memory 'made' is at revision {made['revision']}, not {revision}.")
    assert teacher.delete("/v1/memories/made").status_code == 204
    problem(teacher.get("/v1/memories/made"), 404, "unknown-memory")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/examples"),
        ("GET", "/examples/red-0"),
        ("GET", "/examples/red-0?image=thumbnail"),
        ("GET", "/health"),
        ("POST", "/verify"),
        ("GET", "/file"),
    ],
)
def test_whoever_reads_a_memory_may_ask_for_a_revision(teacher: TestClient, method: str, path: str) -> None:
    create(teacher, "revised")
    revision = int(teach(teacher, "revised", "red-0", "red", coloured("red")).headers["memory-revision"])

    def ask(least: object) -> Response:
        return teacher.request(method, f"/v1/memories/revised{path}", headers={"memory-revision": str(least)})

    answer = ask(revision)
    assert (answer.status_code, answer.headers["memory-revision"]) == (200, str(revision))
    ahead = ask(revision + 10**6)
    assert f"{revision + 10**6} is not there yet" in problem(ahead, 503, "unavailable")["detail"]
    assert int(ahead.headers["retry-after"]) > 0
    for wrong in (-1, "seven", 2**62 + 1):
        assert "Memory-Revision" in problem(ask(wrong), 400, "invalid-parameter")["detail"]
    teacher.delete("/v1/memories/revised")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"readout": "guess"}', "invalid-body"),
        (b'{"unknown_level": 1}', "invalid-body"),
        (b'{"colour": "red"}', "invalid-body"),
        (b'{"start": "head", "beta": 3}', "invalid-body"),
        (b"{", "invalid-body"),
        (b"x" * 70_000, "too-many-bytes"),
    ],
)
def test_wrong_options_are_refused(teacher: TestClient, body: bytes, kind: str) -> None:
    problem(teacher.put("/v1/memories/wrong", content=body), 413 if kind == "too-many-bytes" else 400, kind)
    problem(teacher.put("/v1/memories/.wrong", content=b""), 400, "invalid-memory")
    problem(teacher.put("/v1/memories/wrong?colour=red"), 400, "unknown-parameter")
    problem(teacher.put("/v1/memories/wrong", json={"model": "none"}), 404, "unknown-model")
    headless = problem(teacher.put("/v1/memories/wrong", json={"start": "head"}), 409, "memory-conflict")
    assert "has no associative head" in headless["detail"]


def test_health_names_what_is_doubtful(teacher: TestClient) -> None:
    create(teacher, "doubtful")
    teach_colours(teacher, "doubtful", 6)
    teach(teacher, "doubtful", "liar", "red", coloured("blue", 60))
    teach(teacher, "doubtful", "twin", "blue", coloured("blue", 60))
    health = teacher.get("/v1/memories/doubtful/health").json()
    assert ("liar", "blue") in [(each["id"], each["taken_for"]) for each in health["doubts"]]
    assert health["same_file"] == [["liar", "twin"]]
    assert any(sorted(each["ids"]) == ["liar", "twin"] for each in health["near_duplicates"])
    create(teacher, "little")
    teach(teacher, "little", "a", "red", coloured("red"))
    little = teacher.get("/v1/memories/little/health").json()
    told = {"label": "red", "reason": "It has 1 example; from 5 on its answers get steady."}
    assert little["advice"] == [told]
    assert teacher.delete("/v1/memories/little/examples/a").status_code == 200
    teach_colours(teacher, "little", 6)
    teach(teacher, "little", "a", "lone", coloured("red", 70))
    lone = teacher.get("/v1/memories/little/health").json()
    assert lone["judged"] == 6 * len(COLOURS)
    assert lone["accuracy"] > 0.8
    accuracies = {each["label"]: each["accuracy"] for each in lone["labels"]}
    assert accuracies.pop("lone") is None
    assert all(accuracy > 0.5 for accuracy in accuracies.values())
    assert all(each["margin_snr"] > 0 for each in lone["labels"] if each["label"] != "lone")
    assert "lone" not in {each["label"] for each in [*lone["confusions"], *lone["doubts"]]}
    assert (lone["compared"], lone["random_features"]) == (6 * len(COLOURS) + 1, 0)
    assert lone["regularisation"] > 0
    create(teacher, "nothing")
    assert teacher.get("/v1/memories/nothing/health").json()["labels"] == []


def test_a_memorys_file_is_the_librarys(teacher: TestClient, tmp_path: Path) -> None:
    create(teacher, "filed", readout="prototype")
    teach_colours(teacher, "filed", 2)
    response = teacher.get("/v1/memories/filed/file")
    (tmp_path / "memory.safetensors").write_bytes(response.content)
    memory = ClassMemory.load(tmp_path / "memory.safetensors")
    assert memory.counts == dict.fromkeys(sorted(COLOURS), 2)
    assert memory.digest() == teacher.post("/v1/memories/filed/verify").json()["digest"]
    memory.forget(memory.ids("blue"))
    put = teacher.put("/v1/memories/from-python/file", content=memory.to_bytes(), params={"model": "colours"})
    assert put.status_code == 201, put.text
    assert put.json()["labels"] == {"green": 2, "red": 2}
    assert put.json()["readout"] == "prototype"
    assert teacher.post("/v1/memories/from-python/verify").json()["digest"] == memory.digest()
    again = teacher.put("/v1/memories/from-python/file", content=response.content)
    assert (again.status_code, again.json()["examples"]) == (200, 6)
    new = teacher.put("/v1/memories/filed/file", content=response.content, headers={"if-none-match": "*"})
    problem(new, 412, "stale-revision")
    other = teacher.put("/v1/memories/of-others/file", content=response.content, params={"model": "others"})
    assert "Name that one as the memory's model" in problem(other, 409, "memory-conflict")["detail"]
    for data in (b"", b"x" * 100, response.content[:-1], response.content[:200]):
        problem(teacher.put("/v1/memories/from-python/file", content=data), 400, "invalid-memory")


def test_a_file_holds_what_was_kept(teacher: TestClient, tmp_path: Path) -> None:
    create(teacher, "original", keep="image")
    teach_colours(teacher, "original", 2)
    images = {name: coloured("red", 80 + number) for number, name in enumerate("ab")}
    for name, image in images.items():
        teach(teacher, "original", name, "red", image, params={"label": "red", "source": f"camera {name}"})
    teacher.patch("/v1/memories/original/examples/b", json={"not": "red"})
    store = teacher.app.state.memories.store
    with store._writing() as run:
        run.change("UPDATE examples SET created = created - 86400.5")  # so long ago
    file = teacher.get("/v1/memories/original/file").content
    (tmp_path / "memory.safetensors").write_bytes(file)
    assert len(ClassMemory.load(tmp_path / "memory.safetensors")) == 8

    def listed(name: str, *members: str) -> list[list[object]]:
        examples = teacher.get(f"/v1/memories/{name}/examples").json()["examples"]
        return [[each[member] for member in members] for each in examples]

    told = ("id", "label", "negative", "source", "taught_by", "taught", "sha256")
    for name, keep, kept in (
        ("copied", None, "image"),
        ("copied-thumbnails", "thumbnail", "thumbnail"),
        ("copied-nothing", "nothing", "nothing"),
    ):
        params = {} if keep is None else {"keep": keep}
        put = teacher.put(f"/v1/memories/{name}/file", content=file, params=params)
        assert (put.status_code, put.json()["keep"]) == (201, kept)
        assert listed(name, *told) == listed("original", *told)
        assert {each[0] for each in listed(name, "keeps")} == {kept}
    shown = teacher.get("/v1/memories/copied/examples/b", params={"image": "file"})
    assert shown.content == images["b"]
    again = teacher.put("/v1/memories/copied-nothing/file", content=file)
    assert (again.status_code, again.json()["keep"]) == (200, "nothing")  # what is there keeps its ways
    assert teacher.get("/v1/memories/copied/file").content == file
    assert teacher.post("/v1/memories/copied/rebind", params={"model": "others"}).status_code == 200
    assert teacher.delete("/v1/memories/copied/examples", params={"source": "camera a"}).json()["forgotten"] == 1
    small = teacher.get("/v1/memories/original/file", params={"images": False})
    assert len(small.content) < len(file) - sum(map(len, images.values()))
    teacher.put("/v1/memories/without/file", content=small.content)
    assert listed("without", *told) == listed("original", *told)
    assert {each[0] for each in listed("without", "keeps")} == {"nothing"}


def test_a_memory_of_kept_images_moves_to_another_model(teacher: TestClient) -> None:
    create(teacher, "moving", keep="image")
    teach_colours(teacher, "moving", 3)
    before = teacher.get("/v1/memories/moving").json()
    response = teacher.post("/v1/memories/moving/rebind", params={"model": "others"})
    assert response.status_code == 200, response.text
    after = response.json()
    assert (after["model"], after["labels"]) == ("others", before["labels"])
    assert after["fingerprint"] != before["fingerprint"]
    assert recall(teacher, "moving", coloured("red", 9))["labels"][0]["label"] == "red"
    create(teacher, "staying")
    teach(teacher, "staying", "a", "red", coloured("red"))
    problem(teacher.post("/v1/memories/staying/rebind", params={"model": "others"}), 409, "memory-conflict")
    stale = teacher.post("/v1/memories/staying/rebind", params={"model": "others"}, headers={"if-match": '"0"'})
    problem(stale, 412, "stale-revision")  # before the model has looked at anything


def test_a_memory_that_another_process_has_bound_anew_answers_at_once(
    store: Path, models: Path, teacher: TestClient
) -> None:
    create(teacher, "rebound", keep="image")
    teach_colours(teacher, "rebound", 3)
    assert recall(teacher, "rebound", coloured("red", 9))["labels"][0]["label"] == "red"
    with serving(models / "colours" / "1", store, model="colours", models=str(models), reload_seconds=0) as second:
        response = second.post("/v1/memories/rebound/rebind", params={"model": "others"})
        assert response.status_code == 200, response.text
        answer = teacher.post("/v1/memories/rebound/recall", content=coloured("red", 9))
    assert (answer.status_code, answer.json()["model"]) == (200, "others")
    assert answer.json()["predictions"][0]["labels"][0]["label"] == "red"
    Recollections.model_validate(answer.json())
    teacher.delete("/v1/memories/rebound")
    problem(teacher.post("/v1/memories/rebound/recall", content=b""), 404, "unknown-memory")


def test_a_memory_that_another_process_has_deleted_is_soon_forgotten(
    store: Path, models: Path, teacher: TestClient
) -> None:
    create(teacher, "gone")
    assert recall(teacher, "gone", coloured("red"))["reason"] == "Nothing has been taught yet."
    with serving(models / "colours" / "1", store, model="colours", models=str(models), reload_seconds=0) as second:
        assert second.delete("/v1/memories/gone").status_code == 204
    problem(teacher.post("/v1/memories/gone/recall", content=coloured("red")), 404, "unknown-memory")

    def is_unknown() -> bool:
        return teacher.post("/v1/memories/gone/recall", content=b"").status_code == 404

    wait_for(is_unknown, "the memory to be forgotten")


def test_a_restarted_server_knows_what_was_taught(store: Path, teacher: TestClient, model_folder: Path) -> None:
    create(teacher, "lasting")
    teach_colours(teacher, "lasting", 2)
    digest = teacher.post("/v1/memories/lasting/verify").json()["digest"]
    with serving(model_folder, store) as second:  # beside the first, as other server processes are
        assert second.post("/v1/memories/lasting/verify").json()["digest"] == digest
        teach(second, "lasting", "new", "red", coloured("red", 40))
        assert recall(teacher, "lasting", coloured("red", 40))["evidence"][0]["id"] == "new"
        wait_for(lambda: teacher.get("/v1/models/lasting").status_code == 200, "the first to follow")
