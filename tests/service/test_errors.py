"""The core's own errors: what they say, and how they get from one process to another and into an answer."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ait_lite.images.errors import EmptyImage
from service.errors import (
    DeadlineExceeded,
    ImageRejected,
    ModelNotFound,
    ModelUnavailable,
    QueueFull,
    RequestTooLarge,
    ServerStopping,
    ServiceError,
    VersionNotFound,
    describe,
    rebuild,
)
from service.http.problems import problem_of
from service.processes.peers import PeerAddress, Peers

ANSWERS = [
    (ModelNotFound("There is no model 'x'."), 404, "unknown-model", "Not Found", None),
    (VersionNotFound("Model x has no version '2'."), 404, "unknown-version", "Not Found", None),
    (RequestTooLarge(5, 4), 413, "too-many-inputs", "The request is too large", None),
    (QueueFull(2.1), 429, "queue-full", "Too Many Requests", "3"),
    (ModelUnavailable("Model x is loading."), 503, "unavailable", "Service Unavailable", "1"),
    (ServerStopping(), 503, "unavailable", "Service Unavailable", "1"),
    (DeadlineExceeded(), 504, "deadline-exceeded", "Gateway Timeout", None),
]


@pytest.mark.parametrize(("error", "status", "kind", "title", "retry_after"), ANSWERS)
def test_every_error_is_a_problem(
    error: ServiceError, status: int, kind: str, title: str, retry_after: str | None
) -> None:
    problem = problem_of(error)
    assert problem.document == {"type": f"urn:ait:{kind}", "title": title, "status": status, "detail": str(error)}
    assert (problem.headers or {}).get("Retry-After") == retry_after


@pytest.mark.parametrize("error", [each[0] for each in ANSWERS])
def test_errors_are_the_same_in_another_process(error: ServiceError) -> None:
    again = rebuild(json.loads(json.dumps(describe(error))))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.args == error.args


def test_a_rejected_image_says_which_it_is() -> None:
    rejected = ImageRejected(EmptyImage(), "File 2 (b.png): it is empty", 1)
    document = problem_of(rejected).document
    assert (document["index"], document["detail"]) == (1, "File 2 (b.png): it is empty")
    assert "index" not in problem_of(ImageRejected(EmptyImage())).document
    with pytest.raises(ValueError, match="not passed on"):
        describe(rejected)


def test_a_peer_raises_what_the_other_raised(tmp_path: Path) -> None:
    async def refuse(name: str) -> None:
        raise ModelNotFound(f"There is no model {name!r}.")

    async def run() -> None:
        one, two = (Peers(PeerAddress(tmp_path, number, 2)) for number in range(2))
        await two.listen({"load": refuse})
        try:
            with pytest.raises(ModelNotFound, match="no model 'x'"):
                await one.ask("load", name="x")
        finally:
            await two.close()

    asyncio.run(run())
