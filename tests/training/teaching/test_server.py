"""A server is asked again where that may help, and a request that must count once says so."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from training.errors import DataError
from training.teaching.files import LabelledFile
from training.teaching.remote_memory import RemoteMemory
from training.teaching.server import Server

ANSWER = {"detail": "The queue is full.", "results": [{"outcome": "created"}], "examples": 1, "labels": {"ant": 1}}


@dataclass
class Scripted:
    """A server that answers as it is told; a status of 0 hangs up.

    Attributes:
        url: Where it is.
        answers: (status, Retry-After) of the next requests; then it answers 200.
        keys: The Idempotency-Key of each request that came.
    """

    url: str
    answers: list[tuple[int, str]] = field(default_factory=list)
    keys: list[str | None] = field(default_factory=list)


@pytest.fixture
def scripted() -> Iterator[Scripted]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            script.keys.append(self.headers["Idempotency-Key"])
            status, after = script.answers.pop(0) if script.answers else (200, "")
            if not status:
                self.close_connection = True
                return
            body = json.dumps(ANSWER).encode()
            self.send_response(status)
            if after:
                self.send_header("Retry-After", after)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        script = Scripted(f"http://127.0.0.1:{server.server_port}")
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield script
        server.shutdown()
        thread.join()


def test_a_busy_server_is_asked_again_when_it_says(scripted: Scripted) -> None:
    scripted.answers = [(429, "7"), (503, "2"), (503, "")]
    pauses: list[float] = []
    status, _ = Server(scripted.url, sleep=pauses.append).send("POST", "/", body=b"x", once=True)
    assert (status, pauses) == (200, [7, 2, 1])
    assert len(scripted.keys) == 4
    assert scripted.keys[0]
    assert set(scripted.keys) == {scripted.keys[0]}


def test_every_request_that_must_count_once_has_a_key_of_its_own(scripted: Scripted) -> None:
    server = Server(scripted.url)
    for once in (True, True, False):
        server.send("POST", "/", body=b"x", once=once)
    first, second, third = scripted.keys
    assert None not in (first, second)
    assert first != second
    assert third is None


def test_images_are_taught_once(scripted: Scripted, tmp_path: Path) -> None:
    image = tmp_path / "one.png"
    image.write_bytes(b"an image")
    taught = RemoteMemory(scripted.url, "pets").teach([LabelledFile(image, "ant")])
    assert (taught.added, taught.labels) == (1, {"ant": 1})
    teaching, describing = scripted.keys
    assert teaching
    assert describing is None


@pytest.mark.parametrize("after", ["60", "11"])
def test_patience_ends(scripted: Scripted, after: str) -> None:
    scripted.answers = [(429, after)] * 9
    pauses: list[float] = []
    with pytest.raises(DataError, match=r"The queue is full\."):
        Server(scripted.url, sleep=pauses.append).send("POST", "/", body=b"x")
    assert sum(pauses) <= 30
    assert len(scripted.keys) == len(pauses) + 1


def test_what_is_refused_is_not_asked_again(scripted: Scripted) -> None:
    scripted.answers = [(400, "1")]
    with pytest.raises(DataError, match=r"The queue is full\."):
        Server(scripted.url).send("POST", "/", body=b"x", once=True)
    assert len(scripted.keys) == 1


def test_an_answer_that_is_still_being_made_is_waited_for(scripted: Scripted) -> None:
    scripted.answers = [(0, ""), (409, "5")]  # lost, and at work when the request comes again
    pauses: list[float] = []
    assert Server(scripted.url, sleep=pauses.append).send("POST", "/", body=b"x", once=True)[0] == 200
    assert pauses == [1, 5]
    assert len(set(scripted.keys)) == 1
    scripted.answers = [(409, "")]  # a conflict that stays one
    with pytest.raises(DataError, match=r"The queue is full\."):
        Server(scripted.url, sleep=pauses.append).send("POST", "/", body=b"x", once=True)


def test_a_lost_answer_is_asked_for_again_where_that_is_safe(scripted: Scripted) -> None:
    scripted.answers = [(0, "")]
    pauses: list[float] = []
    server = Server(scripted.url, sleep=pauses.append)
    assert server.send("POST", "/", body=b"x", once=True)[0] == 200
    assert (len(pauses), scripted.keys[0]) == (1, scripted.keys[1])
    scripted.answers = [(0, "")]
    with pytest.raises(DataError, match="does not answer"):
        server.send("POST", "/", body=b"x")
    scripted.answers = [(0, "")] * 9
    with pytest.raises(DataError, match="does not answer"):
        server.send("POST", "/", body=b"x", once=True)
    assert len(scripted.answers) == 5
