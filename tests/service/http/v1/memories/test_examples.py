"""Examples of memories over HTTP: taught one or many at a time, once however often they are sent, and kept."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from PIL import Image

from service.memories.memories import Memories
from service.memories.results import Taught
from tests.support.images.service_images import encode, scene
from tests.support.processes.waiting import until, wait_for_event
from tests.support.servers.memories_client import COLOURS, coloured, create, recall, teach, zipped
from tests.support.servers.service_client import problem


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


def test_an_id_of_a_prior_and_a_label_that_nobody_sees_are_refused(teacher: TestClient) -> None:
    create(teacher, "hidden")
    told = problem(teach(teacher, "hidden", "prior:0:0", "red", coloured("red")), 400, "invalid-memory")
    assert "what a memory has begun with" in told["detail"]
    for label in ("\u200b", "\u00a0\u200d", "\u2060\u200b"):
        told = problem(teach(teacher, "hidden", "a", label, coloured("red")), 400, "invalid-memory")
        assert told["detail"] == "A label is missing or empty."
    family = "\U0001f468\u200d\U0001f467"  # what joins characters is no reason to refuse them
    assert teach(teacher, "hidden", "a", family, coloured("red")).status_code == 201


def test_of_two_labels_in_one_request_none_is_forgotten(teacher: TestClient) -> None:
    create(teacher, "both-labels")
    for label in ("red", "blue"):
        teach(teacher, "both-labels", label, label, coloured(label))
    told = problem(teacher.delete("/v1/memories/both-labels/examples?label=red&label=blue"), 400, "invalid-parameter")
    assert told["detail"] == "label comes more than once. Send a request for each."
    assert teacher.get("/v1/memories/both-labels").json()["labels"] == {"blue": 1, "red": 1}


def test_nothing_is_taught_for_a_client_that_waits_no_more(teacher: TestClient) -> None:
    create(teacher, "waited-for")
    paths = {"PUT": "/v1/memories/waited-for/examples/a", "POST": "/v1/memories/waited-for/examples"}
    for method, path in paths.items():

        def send(seconds: str, method: str = method, path: str = path) -> Response:
            headers = {"x-request-timeout": seconds}
            return teacher.request(method, path, params={"label": "red"}, content=coloured("red"), headers=headers)

        problem(send("1e-9"), 504, "deadline-exceeded")
        assert teacher.get("/v1/memories/waited-for").json()["examples"] == 0
        assert "X-Request-Timeout" in problem(send("soon"), 400, "invalid-parameter")["detail"]
    for method, path in paths.items():
        answer = teacher.request(
            method, path, params={"label": "red"}, content=coloured("red"), headers={"x-request-timeout": "600"}
        )
        assert answer.status_code < 300, answer.text
    described = teacher.get("/openapi.json").json()["paths"]
    for path in ("/v1/memories/{memory}/examples/{identifier}", "/v1/memories/{memory}/examples"):
        operation = described[path]["put" if path.endswith("}") else "post"]
        assert "X-Request-Timeout" in [each["name"] for each in operation["parameters"]]
        assert len(operation["parameters"]) > 3


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


def test_an_image_is_taught_as_what_it_does_not_show(teacher: TestClient) -> None:
    made = create(teacher, "denied")
    url, data = "/v1/memories/denied/examples/no/1", coloured("red", 1)
    taught = teacher.put(url, params={"not": "red", "source": "camera"}, content=data)
    assert taught.status_code == 201, taught.text
    answer = taught.json()
    assert answer.pop("revision") == made["revision"] + 1  # one change, not a wrong label and its correction
    assert answer == {"id": "no/1", "label": "red", "negative": True, "outcome": "created"}
    again = teacher.put(url, params={"not": "red", "source": "camera"}, content=data).json()
    assert (again["outcome"], again["revision"]) == ("unchanged", made["revision"] + 1)
    held = teacher.get("/v1/memories/denied").json()
    assert (held["labels"], held["negatives"]) == ({}, {"red": 1})
    assert teacher.put(url, params={"label": "green"}, content=data).json()["negative"] is False
    for params in ({}, {"label": "red", "not": "green"}):
        told = problem(teacher.put(url, params=params, content=data), 400, "invalid-parameter")
        assert told["detail"].endswith("one of the two.")
    for params in ({"not": "¬red"}, {"not": ""}, {"label": "¬red"}):
        problem(teacher.put(url, params=params, content=data), 400, "invalid-memory")
    assert teacher.get("/v1/memories/denied").json()["labels"] == {"green": 1}


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
    store = teacher.app.state.memories.store
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
    empty = teacher.post("/v1/memories/keyed/examples", content=send, headers={"idempotency-key": ""})
    problem(empty, 400, "invalid-parameter")  # it names no request, and all that send one would share it


def test_of_requests_with_a_key_at_the_same_time_one_is_at_work(
    teacher: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    create(teacher, "twice")
    begun, go, teach_many = threading.Event(), threading.Event(), Memories.teach_many

    async def wait_and_teach(*arguments: Any, **named: Any) -> tuple[int, list[Taught]]:
        begun.set()
        await until(go.is_set)
        return await teach_many(*arguments, **named)

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
