"""The client of Triton, unmodified, lists, loads and unloads models of a server process, and needs its admin key."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient
from tritonclient.http.auth import BasicAuth
from tritonclient.utils import InferenceServerException

from tests.support.servers.v2_clients import KEY, MODEL, tensor


def states(triton: InferenceServerClient) -> dict[str, str]:
    return {each["name"]: each["state"] for each in triton.get_model_repository_index()}


def test_triton_repository(triton: InferenceServerClient, pixels: np.ndarray) -> None:
    key = {"Authorization": f"Bearer {KEY}"}
    assert states(triton) == {MODEL: "READY", "spare": "READY", "broken": "UNAVAILABLE"}
    index = {each["name"]: each for each in triton.get_model_repository_index()}
    assert index[MODEL] == {"name": MODEL, "version": "1", "state": "READY", "reason": ""}
    assert "broken/1" in index["broken"]["reason"]

    triton.unload_model("spare", headers=dict(key), unload_dependents=True)
    assert not triton.is_model_ready("spare")
    assert states(triton)["spare"] in ("UNLOADING", "UNAVAILABLE")
    with pytest.raises(InferenceServerException, match="no model 'spare'"):
        triton.infer("spare", [tensor("pixels", pixels)])
    triton.load_model("spare", headers=dict(key))
    assert triton.infer("spare", [tensor("pixels", pixels)]).as_numpy("logits").shape == (3, 3)
    triton.load_model(MODEL, headers=dict(key))  # again
    assert triton.is_model_ready(MODEL)

    for call, words, status in (
        (lambda: triton.load_model("broken", headers=dict(key)), "Model broken cannot be loaded", "503"),
        (lambda: triton.load_model("other", headers=dict(key)), "no model 'other'", "404"),
        (lambda: triton.unload_model("other", headers=dict(key)), "no model 'other'", "404"),
        (lambda: triton.load_model(MODEL, headers=dict(key), config="{}"), "'config' would replace", "400"),
    ):
        with pytest.raises(InferenceServerException, match=words) as caught:
            call()
        assert caught.value.status() == status


def test_triton_repository_needs_the_key(triton: InferenceServerClient) -> None:
    for headers, status in (({}, "401"), ({"Authorization": "Bearer wrong"}, "403")):
        for call in (triton.load_model, triton.unload_model):
            with pytest.raises(InferenceServerException, match="admin key") as caught:
                call(MODEL, headers=dict(headers))
            assert caught.value.status() == status
    assert triton.is_model_ready(MODEL)


def test_triton_repository_with_basic_authentication(url: str) -> None:
    with InferenceServerClient(url.removeprefix("http://")) as client:
        client.register_plugin(BasicAuth("anybody", KEY))
        client.load_model(MODEL)
        client.unregister_plugin()
        client.register_plugin(BasicAuth(KEY, "wrong"))
        with pytest.raises(InferenceServerException, match="not the admin key"):
            client.load_model(MODEL)
