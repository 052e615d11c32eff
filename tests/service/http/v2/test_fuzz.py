"""A few of the mutated requests of `v2_fuzz`, which has many more."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.support.fuzz.inference import fuzz, seeds


def test_mutated_requests_are_answered_or_refused(client: TestClient) -> None:
    for good in seeds("colours"):
        length = len(good.encoded()) - len(good.binary)
        headers = {"inference-header-content-length": str(length)} if good.binary else {}
        assert client.post(good.path, content=good.encoded(), headers=headers).status_code == 200
    report = fuzz(client, "colours", cases=500, seed=1)
    assert not report.failures
    # Most mutations matter, and some do not: both sides are reached.
    assert report.statuses[200] > 50
    assert report.statuses[400] > 100
    assert {404, 415} <= report.statuses.keys()
