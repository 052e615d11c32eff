"""Memories as models of a server process, asked by the clients of Triton and kserve."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from tritonclient.http import InferenceServerClient, InferRequestedOutput
from tritonclient.utils import InferenceServerException

from tests.support.processes.waiting import CEILING, wait_for
from tests.support.servers.memories_client import coloured, zipped
from tests.support.servers.v2_clients import kserve_tensor, tensor, with_kserve


@pytest.fixture(scope="module")
def memory(url: str) -> Iterator[str]:
    """The name of a memory that has been taught two colours; it is gone afterwards, as the index lists it."""
    with httpx.Client(base_url=f"{url}/v1/memories/", timeout=CEILING) as client:
        assert client.put("taught", json={"readout": "prototype"}).status_code == 201
        archive = zipped(
            {f"{label}/{each}.png": coloured(label, each) for label in ("red", "blue") for each in range(4)}
        )
        assert client.post("taught/examples", content=archive).json()["stored"] == 8
    wait_for(lambda: httpx.get(f"{url}/v2/models/taught/ready").status_code == 200, "the memory to be a model")
    yield "taught"
    assert httpx.delete(f"{url}/v1/memories/taught", timeout=CEILING).status_code == 204
    wait_for(lambda: httpx.get(f"{url}/v2/models/taught/ready").status_code == 404, "the memory to be gone")


def test_triton_asks_a_memory(triton: InferenceServerClient, url: str, memory: str) -> None:
    assert triton.is_model_ready(memory)
    metadata = triton.get_model_metadata(memory)
    assert [each["name"] for each in metadata["outputs"]] == ["logits", "probabilities"]
    images = [coloured("blue", 8), coloured("red", 9)]
    outputs = [InferRequestedOutput("probabilities"), InferRequestedOutput("logits", class_count=1)]
    result = triton.infer(memory, [tensor("image", np.array(images, object))], outputs=outputs)
    assert [text.decode().split(":")[2] for text in result.as_numpy("logits").ravel()] == ["blue", "red"]
    for data, scores in zip(images, result.as_numpy("probabilities"), strict=True):
        answer = httpx.post(f"{url}/v1/memories/{memory}/recall", content=data, timeout=CEILING).json()
        recalled = sorted(each["score"] for each in answer["predictions"][0]["labels"])
        assert sorted(scores.tolist()) == pytest.approx(recalled, abs=1e-5)
    pixels = np.zeros((2, 3, 32, 32), np.float32)
    assert triton.infer(memory, [tensor("pixels", pixels)]).as_numpy("probabilities").shape == (2, 2)
    with pytest.raises(InferenceServerException, match="version"):
        triton.infer(memory, [tensor("pixels", pixels)], model_version="2")


def test_kserve_asks_a_memory(url: str, memory: str) -> None:
    async def use(client: InferenceRESTClient) -> None:
        wanted = [RequestedOutput("probabilities", {"classification": 1, "binary_data": True})]
        array = np.array([coloured("red", 8)], object)
        request = InferRequest(memory, [kserve_tensor("image", array, True)], request_outputs=wanted)
        response = await client.infer(url, request, model_name=memory)
        (text,) = response.outputs[0].data
        assert text.split(":")[2] == "red"
        assert await client.is_model_ready(url, memory)

    with_kserve(url, use)
