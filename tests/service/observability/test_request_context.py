"""Every request has an id, in its answer and in nothing of other requests."""

from __future__ import annotations

import asyncio
import re

import pytest

from service.batching.batcher import Batcher
from service.observability.request_context import CURRENT, RequestRecord
from tests.support.servers.observed_service import ObservedService


@pytest.mark.parametrize("path", ["/v1/models", "/v1/nothing", "/v2/nothing", "/", "/fail", "/metrics"])
def test_every_answer_has_an_id(observed: ObservedService, path: str) -> None:
    sent = observed.client.get(path, headers={"x-request-id": "my-id/1.2=3"})
    assert sent.headers.get_list("x-request-id") == ["my-id/1.2=3"]
    if sent.headers["content-type"] == "application/problem+json":
        assert sent.json()["request_id"] == "my-id/1.2=3"
    ids = {observed.client.get(path).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3


@pytest.mark.parametrize("given", ["", " ", "a b", "x" * 129, "a\tb", '"', "\xe4", "{}", "a\\"])
def test_an_id_that_could_confuse_a_log_is_replaced(observed: ObservedService, given: str) -> None:
    response = observed.client.get("/v1/nothing", headers={"x-request-id": given.encode("latin-1")})
    assert re.fullmatch("[0-9a-f]{24}", response.headers["x-request-id"])


def test_a_batch_is_no_single_requests() -> None:
    seen = []

    async def run(items: list[int]) -> list[int]:
        seen.append(CURRENT.get())
        return items

    async def main() -> None:
        batcher = Batcher(run, max_batch=2, max_queue=8, max_delay=0.01)

        async def ask(number: int) -> None:
            CURRENT.set(RequestRecord(str(number)))
            await batcher.submit([number])

        await asyncio.gather(*(ask(number) for number in range(5)))
        await batcher.close()

    asyncio.run(main())
    assert seen
    assert set(seen) == {None}
