"""Memories over HTTP: made, taught, asked, corrected, forgotten, moved."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from ait_lite.class_memory import ClassMemory
from service.http.v1.memories_schemas import Recollections
from service.memories.memories import Memories
from service.memories.results import Taught
from tests.support.memories_client import COLOURS, coloured, create, recall, serving, teach, teach_colours, zipped
from tests.support.service_client import problem
from tests.support.service_images import encode, scene
from tests.support.waiting import until, wait_for, wait_for_event


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "memories.sqlite3"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, model_folder: Path, other_folder: Path) -> Path:
    root = tmp_path_factory.mktemp("served")
    shutil.copytree(model_folder, root / "colours" / "1")
    shutil.copytree(other_folder, root / "others" / "1")
    return root


@pytest.fixture(scope="module")
def teacher(store: Path, models: Path) -> Iterator[TestClient]:
    with serving(models / "colours" / "1", store, model="colours", models=str(models), reload_seconds=0) as client:
        yield client


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
    for there in ("*", '"1"'):
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
    stale = {"if-match": f'"{made["revision"] - 1}"'}
    problem(teacher.delete("/v1/memories/made", headers=stale), 412, "stale-revision")
    assert teacher.delete("/v1/memories/made").status_code == 204
    problem(teacher.get("/v1/memories/made"), 404, "unknown-memory")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"readout": "guess"}', "invalid-body"),
        (b'{"unknown_level": 1}', "invalid-body"),
        (b'{"colour": "red"}', "invalid-body"),
        (b"{", "invalid-body"),
        (b"x" * 70_000, "too-many-bytes"),
    ],
)
def test_wrong_options_are_refused(teacher: TestClient, body: bytes, kind: str) -> None:
    problem(teacher.put("/v1/memories/wrong", content=body), 413 if kind == "too-many-bytes" else 400, kind)
    problem(teacher.put("/v1/memories/.wrong", content=b""), 400, "invalid-memory")
    problem(teacher.put("/v1/memories/wrong?colour=red"), 400, "unknown-parameter")
    problem(teacher.put("/v1/memories/wrong", json={"model": "none"}), 404, "unknown-model")


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


def test_a_label_is_found_and_forgotten_under_the_name_it_was_taught_with(teacher: TestClient) -> None:
    """Unicode writes it in two ways, and space around it does not count; it is stored in one."""
    create(teacher, "written")
    for number, label in enumerate(("caf\u00e9", "cafe\u0301", " caf\u00e9 ")):
        assert teach(teacher, "written", f"cup-{number}", label, coloured("red", number)).status_code == 201
    assert teacher.get("/v1/memories/written").json()["labels"] == {"caf\u00e9": 3}
    for label in ("caf\u00e9", "cafe\u0301", " cafe\u0301 "):
        found = teacher.get("/v1/memories/written/examples", params={"label": label}).json()["examples"]
        assert [each["id"] for each in found] == ["cup-0", "cup-1", "cup-2"]
    gone = teacher.delete("/v1/memories/written/examples", params={"label": "cafe\u0301"})
    assert gone.json()["forgotten"] == 3
    problem(teacher.delete("/v1/memories/written/examples", params={"label": "cafe"}), 404, "unknown-example")


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
    problem(teacher.patch("/v1/memories/negative/examples/strange", json={}), 400, "invalid-body")
    problem(teacher.patch("/v1/memories/negative/examples/strange", json={"label": "¬x"}), 400, "invalid-memory")


def test_teaching_one_image_is_idempotent_by_its_id(teacher: TestClient) -> None:
    create(teacher, "idempotent")
    first = teach(teacher, "idempotent", "folder/a b.png", "red", coloured("red"))
    again = teach(teacher, "idempotent", "folder/a b.png", "red", coloured("red"))
    assert (again.status_code, again.json()["outcome"]) == (200, "unchanged")
    assert again.json()["revision"] == first.json()["revision"]
    other = teach(teacher, "idempotent", "folder/a b.png", "red", coloured("red", 1))
    assert (other.status_code, other.json()["outcome"]) == (200, "replaced")
    for path in ("", "/folder/a b.png", "/folder/a b.png?image=thumbnail"):
        shown = teacher.get(f"/v1/memories/idempotent/examples{path}")
        assert shown.headers["etag"] == f'"{shown.headers["memory-revision"]}"' == other.headers["etag"]
    example = teacher.get("/v1/memories/idempotent/examples/folder/a b.png").json()
    assert (example["id"], example["keeps"], example["negative"]) == ("folder/a b.png", "thumbnail", False)
    stale = {"if-match": f'"{first.json()["revision"]}"'}
    problem(teach(teacher, "idempotent", "b", "red", coloured("red"), headers=stale), 412, "stale-revision")
    problem(
        teach(teacher, "idempotent", "folder/a b.png", "red", coloured("red", 1), headers=stale), 412, "stale-revision"
    )
    current = {"if-match": f'"{other.json()["revision"]}"'}
    assert teach(teacher, "idempotent", "b", "red", coloured("red"), headers=current).status_code == 201
    ahead = {"memory-revision": str(10**6)}
    response = teacher.post("/v1/memories/idempotent/recall", content=coloured("red"), headers=ahead)
    problem(response, 503, "unavailable")
    assert response.headers["retry-after"] == "1"


def test_many_images_get_a_result_each(teacher: TestClient) -> None:
    create(teacher, "many")
    files = {
        "pile/red/1.png": coloured("red", 1),
        "pile/blue/2.png": coloured("blue", 2),
        "pile/blue/broken.png": coloured("blue", 3)[:200],
        "pile/blue/notes.txt": b"no image by its name",
        "__MACOSX/pile/red/._1.png": b"what macOS adds",
        "pile/red/Thumbs.db": b"what Windows adds",
        "nolabel.png": coloured("red", 4),
    }
    answer = teacher.post("/v1/memories/many/examples", content=zipped(files), params={"source": "pile"}).json()
    assert (answer["stored"], answer["refused"]) == (2, 3)
    outcomes = {each["name"]: each["outcome"] for each in answer["results"]}
    assert outcomes == {
        "pile/red/1.png": "created",
        "pile/blue/2.png": "created",
        "pile/blue/broken.png": "refused",
        "pile/blue/notes.txt": "refused",
        "nolabel.png": "refused",
    }
    notes = next(each for each in answer["results"] if "notes" in each["name"])
    assert notes["problem"]["detail"].startswith("It is no image by its name")
    broken = next(each for each in answer["results"] if "broken" in each["name"])
    assert broken["problem"]["type"] == "urn:ait:undecodable-image"
    form = [("file", (f"{number}.png", coloured("red", number), "image/png")) for number in (1, 5)]
    answer = teacher.post("/v1/memories/many/examples", files=form, params={"label": "red"}).json()
    assert [each["outcome"] for each in answer["results"]] == ["replaced", "created"]  # the first has no source now
    listed = teacher.get("/v1/memories/many/examples", params={"limit": 2}).json()
    rest = teacher.get("/v1/memories/many/examples", params={"after": listed["next"]}).json()
    assert len(listed["examples"]) + len(rest["examples"]) == 3
    assert rest["next"] is None
    assert teacher.delete("/v1/memories/many/examples", params={"source": "pile"}).json()["forgotten"] == 1
    problem(teacher.delete("/v1/memories/many/examples"), 400, "invalid-parameter")


def test_others_may_teach_while_many_images_are_taught(
    teacher: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = create(teacher, "shared")
    store = teacher.app.state.memories.store  # type: ignore[attr-defined]
    stored, calls = store.teach, []

    def teach_with_another(*arguments: Any) -> Any:
        done = stored(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            teach(teacher, "shared", "between", "blue", coloured("blue"))
        return done

    monkeypatch.setattr(store, "teach", teach_with_another)
    headers = {"if-match": f'"{made["revision"]}"'}
    send = zipped({f"red/{number}.png": coloured("red", number) for number in range(20)})
    with caplog.at_level("INFO", "service.memories.audit"):
        answer = teacher.post("/v1/memories/shared/examples", content=send, headers=headers).json()
    assert (answer["stored"], answer["refused"]) == (20, 0)
    assert teacher.get("/v1/memories/shared").json()["labels"] == {"blue": 1, "red": 20}
    # Each revision is told, by what it brought.
    told = [record.getMessage() for record in caplog.records]
    assert [line.count(" of red") for line in told if " of red" in line] == [16, 4]
    assert sum("between of blue" in line for line in told) == 1
    problem(teacher.post("/v1/memories/shared/examples", content=send, headers=headers), 412, "stale-revision")
    assert len(calls) == 3


def test_a_request_that_is_too_large_for_memory_is_answered_alike(
    teacher: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.images.spool.IN_MEMORY", 5000)
    create(teacher, "spooled", keep="image")
    files = {f"{label}/{number}.png": coloured(label, number) for label in COLOURS for number in range(7)}
    archive = zipped(files | {"red/broken.png": b"no image"})
    form = [("file", (name, data, "image/png")) for name, data in files.items() if name.startswith("red")]
    both = [("file", ("many.zip", archive, "application/zip")), *form[:5]]
    headers = {"idempotency-key": "large"}
    first = teacher.post("/v1/memories/spooled/examples", files=both, headers=headers).json()
    assert [each["outcome"] for each in first["results"]] == ["created"] * 21 + ["refused"] + ["unchanged"] * 5
    assert [each["name"] for each in first["results"]][:21] == list(files)
    assert teacher.post("/v1/memories/spooled/examples", files=both, headers=headers).json() == first
    problem(teacher.post("/v1/memories/spooled/examples", files=both[1:], headers=headers), 409, "memory-conflict")
    for result in (first["results"][7], first["results"][20]):
        kept = teacher.get(f"/v1/memories/spooled/examples/{result['id']}", params={"image": "file"})
        assert kept.content == files[result["name"]]
    again = teacher.post("/v1/memories/spooled/examples", content=archive).json()
    assert (again["stored"], again["refused"]) == (21, 1)


def test_a_repeated_request_with_a_key_gets_the_first_answer(teacher: TestClient) -> None:
    create(teacher, "keyed")
    send = zipped({"red/1.png": coloured("red", 1)})
    headers = {"idempotency-key": "once"}
    first = teacher.post("/v1/memories/keyed/examples", content=send, headers=headers)
    teacher.delete("/v1/memories/keyed/examples", params={"label": "red"})
    again = teacher.post("/v1/memories/keyed/examples", content=send, headers=headers)
    assert again.json() == first.json()
    assert teacher.get("/v1/memories/keyed").json()["examples"] == 0  # it was not taught again
    other = teacher.post(
        "/v1/memories/keyed/examples", content=coloured("red"), headers=headers, params={"label": "a"}
    )
    problem(other, 409, "memory-conflict")


def test_of_requests_with_a_key_at_the_same_time_one_is_at_work(
    teacher: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(teacher, "twice")
    begun, go, teach_many = threading.Event(), threading.Event(), Memories.teach_many

    async def wait_and_teach(*arguments: Any) -> tuple[int, list[Taught]]:
        begun.set()
        await until(go.is_set)
        return await teach_many(*arguments)

    monkeypatch.setattr(Memories, "teach_many", wait_and_teach)

    def send(**headers: str) -> Response:
        archive = zipped({"red/1.png": coloured("red", 1)})
        headers = {"idempotency-key": "twice"} | headers
        return teacher.post("/v1/memories/twice/examples", content=archive, headers=headers)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(send)
        wait_for_event(begun, "the first request to be at work")
        second = send()
        go.set()
    problem(second, 409, "request-under-way")
    assert int(second.headers["retry-after"]) > 0
    assert first.result().json()["results"][0]["outcome"] == "created"
    assert send().json() == first.result().json()


def test_a_request_with_a_key_that_has_failed_can_be_sent_again(teacher: TestClient) -> None:
    create(teacher, "failed")
    send = zipped({"red/1.png": coloured("red", 1)})
    headers = {"idempotency-key": "failed"}
    url = "/v1/memories/failed/examples"
    problem(teacher.post(url, content=send, headers=headers | {"if-match": '"1"'}), 412, "stale-revision")
    assert teacher.post(url, content=send, headers=headers).json()["results"][0]["outcome"] == "created"


def test_an_answer_that_is_kept_names_nothing_that_is_forgotten(teacher: TestClient, store: Path) -> None:
    create(teacher, "named")
    send = zipped({"unmistakable/unforgettable.png": coloured("red", 77), "unmistakable/not.png": b"no image"})
    headers = {"idempotency-key": "named by the client"}
    first = teacher.post("/v1/memories/named/examples", content=send, headers=headers).json()
    teacher.delete("/v1/memories/named/examples", params={"label": "unmistakable"})
    found = b"".join(path.read_bytes() for path in store.parent.iterdir())
    for part in ("unmistakable", "unforgettable", first["results"][0]["id"], "named by the client"):
        assert part.encode() not in found
    assert teacher.post("/v1/memories/named/examples", content=send, headers=headers).json() == first


def test_what_is_kept_of_an_image(teacher: TestClient) -> None:
    data = encode(scene(300, 200))
    for keep, thumbnail, file in (("nothing", False, False), ("thumbnail", True, False), ("image", True, True)):
        name = f"keeps-{keep}"
        create(teacher, name, keep=keep)
        teach(teacher, name, "a", "red", data)
        url = f"/v1/memories/{name}/examples/a"
        small, whole = (teacher.get(url, params={"image": what}) for what in ("thumbnail", "file"))
        assert (small.status_code == 200, whole.status_code == 200) == (thumbnail, file)
        assert recall(teacher, name, data)["evidence"][0]["thumbnail"] is thumbnail
        if thumbnail:
            assert small.headers["content-type"] == "image/jpeg"
            assert Image.open(BytesIO(small.content)).size == (96, 64)
        if file:
            assert (whole.headers["content-type"], whole.content) == ("image/png", data)


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
    assert [each["label"] for each in little["advice"]] == ["red"]
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
    file = teacher.get("/v1/memories/original/file").content
    (tmp_path / "memory.safetensors").write_bytes(file)
    assert len(ClassMemory.load(tmp_path / "memory.safetensors")) == 8

    def listed(name: str, *members: str) -> list[list[object]]:
        examples = teacher.get(f"/v1/memories/{name}/examples").json()["examples"]
        return [[each[member] for member in members] for each in examples]

    told = ("id", "label", "negative", "source", "taught_by", "sha256")
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


def test_a_restarted_server_knows_what_was_taught(store: Path, teacher: TestClient, model_folder: Path) -> None:
    create(teacher, "lasting")
    teach_colours(teacher, "lasting", 2)
    digest = teacher.post("/v1/memories/lasting/verify").json()["digest"]
    with serving(model_folder, store) as second:  # beside the first, as other server processes are
        assert second.post("/v1/memories/lasting/verify").json()["digest"] == digest
        teach(second, "lasting", "new", "red", coloured("red", 40))
        assert recall(teacher, "lasting", coloured("red", 40))["evidence"][0]["id"] == "new"
        wait_for(lambda: teacher.get("/v1/models/lasting").status_code == 200, "the first to follow")
