"""The client of kserve, unmodified, against a server process."""

from __future__ import annotations

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferRequest
from kserve.protocol.infer_type import RequestedOutput
from tritonclient.http import InferenceServerClient, InferRequestedOutput

from tests.support.servers.v2_clients import IMAGES, MODEL, close, kserve_tensor, tensor, with_kserve


def test_kserve_health(url: str) -> None:
    async def use(client: InferenceRESTClient) -> None:
        assert await client.is_server_live(url)
        assert await client.is_server_ready(url)
        assert await client.is_model_ready(url, MODEL)
        assert not await client.is_model_ready(url, "other")

    with_kserve(url, use)


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False, None])
@pytest.mark.parametrize("listed", [True, False])
def test_kserve_pixels(
    url: str, pixels: np.ndarray, logits: np.ndarray, binary_input: bool, binary_output: bool | None, listed: bool
) -> None:
    async def use(client: InferenceRESTClient) -> None:
        asked = None if binary_output is None else {"binary_data" if listed else "binary_data_output": binary_output}
        request = InferRequest(
            MODEL,
            [kserve_tensor("pixels", pixels, binary_input)],
            request_id="7",
            parameters=None if listed else asked,
            request_outputs=[RequestedOutput("logits", asked)] if listed else None,
        )
        seen: dict[str, str] = {}
        response = await client.infer(url, request, model_name=MODEL, response_headers=seen)
        assert (response.id, response.model_name) == ("7", MODEL)
        outputs = {output.name: output.as_numpy() for output in response.outputs}
        assert outputs["logits"] == close(logits)
        assert set(outputs) == ({"logits"} if listed else {"logits", "probabilities"})
        expected = binary_input and not listed if binary_output is None else binary_output
        assert ("inference-header-content-length" in seen) == expected

    with_kserve(url, use)


def test_kserve_images_and_classification(url: str, triton: InferenceServerClient) -> None:
    array = np.array(IMAGES, object)
    expected = triton.infer(
        MODEL, [tensor("image", array)], outputs=[InferRequestedOutput("probabilities", class_count=2)]
    ).as_numpy("probabilities")

    async def use(client: InferenceRESTClient) -> None:
        wanted = [RequestedOutput("probabilities", {"classification": 2, "binary_data": True})]
        request = InferRequest(MODEL, [kserve_tensor("image", array, True)], request_outputs=wanted)
        response = await client.infer(url, request, model_name=MODEL)
        assert response.outputs[0].shape == [3, 2]
        assert [text.encode() for text in response.outputs[0].data] == expected.ravel().tolist()

    with_kserve(url, use)


def test_kserve_plain_json(url: str, pixels: np.ndarray, logits: np.ndarray) -> None:
    async def use(client: InferenceRESTClient) -> None:
        item = {"name": "pixels", "shape": [3, 3, 32, 32], "datatype": "FP32", "data": pixels.tolist()}
        response = await client.infer(url, {"inputs": [item]}, model_name=MODEL)
        assert response.outputs[0].as_numpy() == close(logits)

    with_kserve(url, use)


def test_kserve_errors(url: str, pixels: np.ndarray) -> None:
    async def use(client: InferenceRESTClient) -> None:
        with pytest.raises(httpx.HTTPStatusError, match="There is no model 'other'") as caught:
            await client.infer(url, {"inputs": []}, model_name="other")
        assert caught.value.response.status_code == 404
        with pytest.raises(httpx.HTTPStatusError, match="The request has no inputs") as caught:
            await client.infer(url, {"inputs": []}, model_name=MODEL)
        assert caught.value.response.status_code == 400

    with_kserve(url, use)
