"""A few of the mutated images of `image_fuzz`, which has many more."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.support.fuzz.images import fuzz, seeds


def test_mutated_images_are_answered_or_refused(client: TestClient) -> None:
    for data in seeds():
        assert client.post("/v1/classify", content=data).status_code == 200
    report = fuzz(client, count=500, seed=1)
    assert not report.failures
    # Most mutations matter, and some do not: all sides are reached.
    assert report.statuses[200] > 20
    assert report.statuses[422] > 50
    assert {413, 415} <= report.statuses.keys()
