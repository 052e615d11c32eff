"""The list of models."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.support.service_client import LABELS


def test_models(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["default"] == "colours"
    (model,) = listed["models"]
    assert model == client.get("/v1/models/colours").json()
    assert model["labels"] == LABELS
    assert model["input_size"] == [3, 32, 32]
    assert model["versions"] == ["1"]
    assert model["limits"]["body_bytes"] == 1_000_000
    assert listed["index"] == [{"model": "colours", "version": "1", "state": "ready", "reason": ""}]
