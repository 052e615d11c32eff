"""The list of models."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.support.servers.service_client import LABELS


def test_models(client: TestClient) -> None:
    listed = client.get("/v1/models").json()
    assert listed["default"] == "colours"
    (model,) = listed["models"]
    assert model == client.get("/v1/models/colours").json()
    assert model["labels"] == LABELS
    assert model["input_size"] == [3, 32, 32]
    assert model["versions"] == ["1"]
    assert model["limits"]["body_bytes"] == 1_000_000
    assert (model["runtime"]["name"], model["runtime"]["precision"]) == ("torch", "fp32")
    assert model["runtime"]["reason"] == "asked for"
    assert [each["runtime"] for each in model["runtime"]["tried"]] == ["torch"]
    assert listed["index"] == [{"model": "colours", "version": "1", "state": "ready", "reason": ""}]


def test_metrics_tell_the_runtime(client: TestClient) -> None:
    labels = 'model="colours",precision="fp32",runtime="torch",version="1",worker="0"'
    assert f"ait_model_runtime{{{labels}}} 1.0" in client.get("/metrics").text
