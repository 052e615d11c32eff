"""A few of the requests of `interface_walk`, which makes many more, and what stands in the description."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.support.fuzz.interface import sender, walk


def test_answers_are_as_documented(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    names = {"model": "colours", "version": "1"}
    statuses = walk(document, sender(client), examples=6, names=names)
    operations = sum(len(each) for each in document["paths"].values())
    assert len({what.rpartition(" ")[0] for what in statuses}) == operations
    assert {what.rpartition(" ")[2] for what in statuses} >= {"200", "400", "403", "404", "415"}
