"""What memories refuse: other origins, keys without the scope, limits, and archives that are meant to do harm."""

from __future__ import annotations

import io
import sqlite3
import struct
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from service.app import create_app
from service.settings import Settings
from tests.support.servers.keys import bearer, sha256
from tests.support.servers.memories_client import coloured, create, recall, serving, teach, zipped
from tests.support.servers.service_client import problem, wait_until_ready

KEYS = ", ".join(f"{name} {sha256(name)} {scope}".strip() for name, scope in (("asks", ""), ("teaches", "teach")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store")


@pytest.fixture(scope="module")
def small(folder: Path, graph_folder: Path) -> Iterator[TestClient]:
    limits = {"max_memory_examples": 3, "max_memory_labels": 2, "max_memory_bytes": 30_000, "max_memories": 30}
    options = {"runtime": "onnxruntime", "cors_origins": "https://app.example.org"}
    with serving(graph_folder, folder / "memories.sqlite3", **options, **limits) as client:
        create(client, "pets")
        yield client


def test_pages_of_named_origins_may_change_memories_and_read_their_revisions(small: TestClient) -> None:
    own, other = "https://app.example.org", "https://evil.example"
    for method in ("PUT", "PATCH", "DELETE", "POST", "GET"):
        asked = {"access-control-request-method": method, "access-control-request-headers": "if-match"}
        answer = small.options("/v1/memories/pets/examples/a", headers={"origin": own, **asked})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, own)
        assert method in answer.headers["access-control-allow-methods"]
        assert small.options("/v1/memories/pets/examples/a", headers={"origin": other, **asked}).status_code == 400
    read = small.get("/v1/memories/pets", headers={"origin": own})
    assert {"ETag", "Memory-Revision"} <= set(read.headers["access-control-expose-headers"].split(", "))


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"sec-fetch-site": "same-origin", "origin": "http://testserver"}, True),
        ({"sec-fetch-site": "none"}, True),
        ({"sec-fetch-site": "same-origin", "origin": "https://public.example.org"}, True),  # behind a proxy
        ({"origin": "http://testserver"}, True),
        ({"origin": "https://app.example.org", "sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://testserver:81"}, False),
        ({"origin": "null"}, False),
        ({"origin": "http://[broken"}, False),
    ],
)
def test_pages_of_other_origins_may_not_write(small: TestClient, headers: dict[str, str], allowed: bool) -> None:
    requests = [
        ("PUT", "/v1/memories/pets"),
        ("PUT", "/v1/memories/pets/examples/a?label=x"),
        ("POST", "/v1/memories/pets/examples?label=x"),
        ("PATCH", "/v1/memories/pets/examples/a"),
        ("DELETE", "/v1/memories/pets/examples/a"),
        ("DELETE", "/v1/memories/pets/examples?label=x"),
        ("DELETE", "/v1/memories/none"),
        ("POST", "/v1/memories/pets/recall"),
        ("POST", "/v1/memories/pets/verify"),
        ("POST", "/v1/memories/none/rebind"),
        ("PUT", "/v1/memories/none/file"),
    ]
    for method, path in requests:
        response = small.request(method, path, headers=headers)
        if allowed:
            assert "cross-origin" not in response.text, (method, path)
        else:
            problem(response, 403, "cross-origin")


def test_names_of_what_is_not_there_leave_nothing_behind(small: TestClient) -> None:
    for number in range(5):
        for path in ("", "/health", "/file", "/examples"):
            problem(small.get(f"/v1/memories/none{number}{path}"), 404, "unknown-memory")
        problem(small.post(f"/v1/memories/none{number}/verify"), 404, "unknown-memory")
    known = small.app.state.memories._indices  # type: ignore[attr-defined]
    assert not [name for name in known if name.startswith("none")]


def test_what_is_forgotten_and_not_erased_yet_is_not_to_be_asked_for_again(
    small: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.memories.stores.sqlite.BUSY_SECONDS", 0.01)
    create(small, "held")
    with closing(sqlite3.connect(folder / "memories.sqlite3", isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM memories").fetchall()
        answer = small.delete("/v1/memories/held")
    problem(answer, 500, "not-erased")
    assert "retry-after" not in answer.headers
    problem(small.get("/v1/memories/held"), 404, "unknown-memory")


def test_limits_of_a_memory(small: TestClient) -> None:
    create(small, "full")
    for identifier, label in (("a", "red"), ("b", "blue")):
        assert teach(small, "full", identifier, label, coloured(label)).status_code == 201
    response = teach(small, "full", "c", "green", coloured("green"))
    assert "labels" in problem(response, 429, "memory-full")["detail"]
    assert int(response.headers["retry-after"]) > 0
    teach(small, "full", "c", "red", coloured("red", 1))
    answer = small.post("/v1/memories/full/examples", content=coloured("red", 2), params={"label": "red"}).json()
    assert answer["results"][0]["problem"]["type"] == "urn:ait:memory-full"
    create(small, "heavy", keep="image")
    assert (
        "bytes"
        in problem(teach(small, "heavy", "a", "red", coloured("red") + bytes(40_000)), 429, "memory-full")["detail"]
    )


@pytest.mark.parametrize("label", ["", " ", "¬cat", "a\x00b", "x" * 101, "\ue000"])
def test_labels_that_cannot_be_read_are_refused(small: TestClient, label: str) -> None:
    problem(teach(small, "pets", "a", label, coloured("red")), 400, "invalid-memory")


@pytest.mark.parametrize("identifier", ["x" * 257, "%00", "a/%2E%2E/b", "a//b"])
def test_ids_that_cannot_stand_in_a_path_are_refused(small: TestClient, identifier: str) -> None:
    problem(teach(small, "pets", identifier, "red", coloured("red")), 400, "invalid-memory")


def test_labels_that_look_the_same_are_the_same(small: TestClient) -> None:
    create(small, "accents")
    teach(small, "accents", "a", "café", coloured("red"))
    teach(small, "accents", "b", " cafe\u0301 ", coloured("red", 1))
    assert small.get("/v1/memories/accents").json()["labels"] == {"café": 2}


def archives() -> Iterator[tuple[str, bytes, int]]:
    """Archives meant to do harm, and the status that refuses them."""
    good = zipped({"red/1.png": coloured("red")})
    yield "many small bombs", zipped({f"red/{number}.png": bytes(190_000) for number in range(20)}), 413
    yield "many entries", zipped({f"red/{number}.txt": b"" for number in range(400)}), 413
    yield "many images", zipped({f"red/{number}.png": b"" for number in range(40)}), 413
    yield "half", good[: len(good) // 2], 400
    yield "no directory", good[:60], 400
    yield (
        "bad checksum",
        good.replace(struct.pack("<I", zipfile.ZipFile(io.BytesIO(good)).infolist()[0].CRC), b"abcd"),
        400,
    )
    yield "unusual method", zipped({"red/1.png": coloured("red")}, zipfile.ZIP_LZMA), 400
    encrypted = bytearray(good)
    encrypted[6] |= 1
    encrypted[good.index(b"PK\x01\x02") + 8] |= 1
    yield "encrypted", bytes(encrypted), 400
    lying = bytearray(zipped({"red/1.png": bytes(900_000)}))
    size_at = lying.index(b"PK\x01\x02") + 24
    lying[size_at : size_at + 4] = struct.pack("<I", 10)
    yield "lying about its size", bytes(lying), 400


@pytest.mark.parametrize(("data", "status"), [pytest.param(*each[1:], id=each[0]) for each in archives()])
def test_archives_that_do_harm_are_refused(small: TestClient, folder: Path, data: bytes, status: int) -> None:
    before = small.get("/v1/memories/pets").json()
    response = small.post("/v1/memories/pets/examples", content=data)
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert small.get("/v1/memories/pets").json() == before


def test_an_image_that_unpacks_to_too_much_is_refused_alone(small: TestClient) -> None:
    create(small, "bomb")
    bomb = zipped({"red/1.png": bytes(50_000_000), "red/2.png": coloured("red")})
    answer = small.post("/v1/memories/bomb/examples", content=bomb).json()
    assert [each["outcome"] for each in answer["results"]] == ["refused", "created"]
    assert "200,000 bytes" in answer["results"][0]["problem"]["detail"]


def test_what_has_no_name_in_an_archive_is_refused_alone(small: TestClient) -> None:
    create(small, "nameless")
    packed = zipped({"\0.png": coloured("red"), "red/1.png": coloured("red")})
    answer = small.post("/v1/memories/nameless/examples", content=packed).json()
    assert [(each["name"], each["outcome"]) for each in answer["results"]] == [
        ("", "refused"),
        ("red/1.png", "created"),
    ]


def test_names_in_an_archive_lead_nowhere(small: TestClient, folder: Path) -> None:
    create(small, "names")
    files = {
        name: coloured("red", number) for number, name in enumerate(("../../red/1.png", "/red/2.png", "red\\3.png"))
    }
    answer = small.post("/v1/memories/names/examples", content=zipped(files)).json()
    assert [each["label"] for each in answer["results"]] == ["red"] * 3
    assert {path.name.partition(".")[0] for path in folder.rglob("*")} == {"memories"}
    nested = zipped({"red/inner.png": zipped({"red/1.png": coloured("red")})})
    answer = small.post("/v1/memories/names/examples", content=nested).json()
    assert [each["outcome"] for each in answer["results"]] == ["refused"]


def test_scopes_of_keys(folder: Path, graph_folder: Path) -> None:
    options = {"runtime": "onnxruntime", "api_keys": KEYS, "admin_key_sha256": sha256("root"), "host": "0.0.0.0"}
    with serving(graph_folder, folder / "keys.sqlite3", **options) as client:
        problem(client.put("/v1/memories/pets"), 401, "key-missing")
        asks, teaches, root = bearer("asks"), bearer("teaches"), bearer("root")
        problem(client.put("/v1/memories/pets", headers=asks), 403, "scope-missing")
        assert client.put("/v1/memories/pets", headers=teaches).status_code == 201
        assert teach(client, "pets", "a", "red", coloured("red"), headers=teaches).status_code == 201
        assert client.get("/v1/memories/pets/examples/a", headers=asks).json()["taught_by"] == "teaches"
        assert recall(client, "pets", coloured("red"), headers=asks)["labels"][0]["label"] == "red"
        problem(client.delete("/v1/memories/pets/examples/a", headers=asks), 403, "scope-missing")
        problem(client.delete("/v1/memories/pets", headers=teaches), 403, "scope-missing")
        assert client.delete("/v1/memories/pets", headers=root).status_code == 204


def test_without_keys_teaching_is_open_on_loopback_only(graph_settings: Settings, folder: Path) -> None:
    path = str(folder / "open.sqlite3")
    for host, admin in (("0.0.0.0", None), ("0.0.0.0", sha256("root"))):
        changed = graph_settings.model_copy(update={"host": host, "memories": path, "admin_key_sha256": admin})
        with TestClient(create_app(changed)) as client:
            wait_until_ready(client)
            problem(client.put("/v1/memories/pets"), 403, "teaching-off")
            assert client.get("/v1/memories").json() == {"memories": []}
            if admin:
                assert client.put("/v1/memories/pets", headers=bearer("root")).status_code == 201


def test_memories_can_be_off(graph_settings: Settings) -> None:
    with TestClient(create_app(graph_settings.model_copy(update={"memories": "off"}))) as client:
        wait_until_ready(client)
        assert "off" in problem(client.get("/v1/memories"), 404, "unknown-memory")["detail"]
        problem(client.put("/v1/memories/pets"), 404, "unknown-memory")


def test_what_is_missing_and_what_is_too_much_is_said_in_plain_words(small: TestClient) -> None:
    nothing = problem(small.put("/v1/memories/pets/examples/a", content=coloured("red")), 400, "invalid-parameter")
    assert nothing["detail"] == "Say what the image shows, ?label=, or does not, ?not=: one of the two."
    more = problem(small.put("/v1/memories/other", json={"kep": "image"}), 400, "invalid-body")
    assert more["detail"] == "kep: there is no such member here; see /docs for those that there are"
