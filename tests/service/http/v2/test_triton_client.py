"""The client of Triton (tritonclient on gevent and asyncio), unmodified, asks the model of a server process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tritonclient.http import InferenceServerClient, InferRequestedOutput
from tritonclient.http.aio import InferenceServerClient as AioClient
from tritonclient.utils import InferenceServerException

from tests.support.images.service_images import encode
from tests.support.servers.service_client import LABELS
from tests.support.servers.v2_clients import IMAGES, MODEL, close, tensor

TEXT = np.array([IMAGES[0], b"text"], object)


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def test_triton_health(triton: InferenceServerClient) -> None:
    assert triton.is_server_live()
    assert triton.is_server_ready()
    assert triton.is_model_ready(MODEL)
    assert triton.is_model_ready(MODEL, "1")
    assert not triton.is_model_ready(MODEL, "2")
    assert not triton.is_model_ready("other")


def test_triton_metadata(triton: InferenceServerClient) -> None:
    server = triton.get_server_metadata()
    assert server["name"] == "ait"
    assert {"binary_tensor_data", "classification", "model_repository", "statistics"} <= set(server["extensions"])
    metadata = triton.get_model_metadata(MODEL)
    assert metadata == triton.get_model_metadata(MODEL, "1")
    assert (metadata["name"], metadata["versions"]) == (MODEL, ["1"])
    assert {each["name"]: (each["datatype"], each["shape"]) for each in metadata["inputs"]} == {
        "pixels": ("FP32", [-1, 3, 32, 32]),
        "image": ("BYTES", [-1]),
    }
    assert {each["name"]: (each["datatype"], each["shape"]) for each in metadata["outputs"]} == {
        "logits": ("FP32", [-1, 3]),
        "probabilities": ("FP32", [-1, 3]),
    }
    config = triton.get_model_config(MODEL)
    assert config == triton.get_model_config(MODEL, "1")
    assert config["max_batch_size"] == 32
    # The configuration says the same as the metadata, without the batch.
    assert [[-1, *each["dims"]] for each in config["input"]] == [each["shape"] for each in metadata["inputs"]]
    assert [each["data_type"] for each in config["input"]] == ["TYPE_FP32", "TYPE_STRING"]


@pytest.mark.parametrize("binary_input", [True, False])
@pytest.mark.parametrize("binary_output", [True, False, None])
@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_triton_pixels(
    triton: InferenceServerClient,
    pixels: np.ndarray,
    logits: np.ndarray,
    binary_input: bool,
    binary_output: bool | None,
    compression: str | None,
) -> None:
    outputs = None
    if binary_output is not None:
        outputs = [InferRequestedOutput(name, binary_data=binary_output) for name in ("probabilities", "logits")]
    result = triton.infer(
        MODEL,
        [tensor("pixels", pixels, binary_input)],
        outputs=outputs,
        request_id="some id",
        request_compression_algorithm=compression,
        response_compression_algorithm=compression,
    )
    assert result.as_numpy("logits") == close(logits)
    assert result.as_numpy("probabilities") == close(softmax(logits))
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("some id", MODEL, "1")
    names = ["logits", "probabilities"] if outputs is None else ["probabilities", "logits"]
    assert [each["name"] for each in response["outputs"]] == names
    assert all(("data" in each) == (binary_output is False) for each in response["outputs"])


def test_triton_images(triton: InferenceServerClient, url: str) -> None:
    array = np.array(IMAGES, object)
    result = triton.infer(MODEL, [tensor("image", array)], model_version="1", timeout=10**9, priority=1)
    for data, scores in zip(IMAGES, result.as_numpy("probabilities"), strict=True):
        (prediction,) = httpx.post(f"{url}/v1/classify", content=data).json()["predictions"]
        expected = {each["label"]: each["score"] for each in prediction["labels"]}
        assert dict(zip(LABELS, scores.tolist(), strict=True)) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize(("asked", "given"), [(1, 1), (2, 2), (3, 3), (1000, 3)])
def test_triton_classification(
    triton: InferenceServerClient, pixels: np.ndarray, logits: np.ndarray, binary: bool, asked: int, given: int
) -> None:
    outputs = [
        InferRequestedOutput("logits", binary_data=binary, class_count=asked),
        InferRequestedOutput("probabilities", binary_data=not binary),
    ]
    result = triton.infer(MODEL, [tensor("pixels", pixels)], outputs=outputs)
    texts = result.as_numpy("logits")
    assert texts.shape == (3, given)
    for row, values in zip(texts.tolist(), logits, strict=True):
        parts = [(each.decode() if isinstance(each, bytes) else each).split(":") for each in row]
        best = np.argsort(-values)[:given]
        assert [int(index) for _, index, _ in parts] == best.tolist()
        assert [label for _, _, label in parts] == [LABELS[index] for index in best]
        assert [float(value) for value, _, _ in parts] == pytest.approx(values[best].tolist(), abs=2e-5)
    assert result.as_numpy("probabilities") == close(softmax(logits))


def test_an_image_of_the_largest_batch(triton: InferenceServerClient) -> None:
    array = np.array([encode(Image.new("RGB", (8, 8), (index, 0, 0))) for index in range(32)], object)
    assert triton.infer(MODEL, [tensor("image", array)]).as_numpy("logits").shape == (32, 3)


def test_triton_many_at_once(triton: InferenceServerClient, pixels: np.ndarray, logits: np.ndarray) -> None:
    pending = [
        triton.async_infer(MODEL, [tensor("pixels", pixels[index % 3 :][:1])], request_id=str(index))
        for index in range(12)
    ]
    for index, each in enumerate(pending):
        result = each.get_result()
        assert result.get_response()["id"] == str(index)
        assert result.as_numpy("logits")[0] == close(logits[index % 3])


def test_triton_statistics(triton: InferenceServerClient, pixels: np.ndarray) -> None:
    def look() -> dict[str, Any]:
        (of,) = triton.get_inference_statistics(MODEL)["model_stats"]
        assert of == triton.get_inference_statistics(MODEL, "1")["model_stats"][0]
        assert of in triton.get_inference_statistics()["model_stats"]
        assert (of["name"], of["version"]) == (MODEL, "1")
        return of

    before = look()
    for count in (1, 3):
        triton.infer(MODEL, [tensor("pixels", pixels[:count])])
    with pytest.raises(InferenceServerException):
        triton.infer(MODEL, [tensor("image", np.array([b"text"], object))])
    after = look()
    stages, earlier = after["inference_stats"], before["inference_stats"]
    counts = {stage: stages[stage]["count"] - earlier[stage]["count"] for stage in stages}
    assert counts == dict.fromkeys(counts, 2) | {"fail": 1}
    assert all(stages[stage]["ns"] > earlier[stage]["ns"] for stage in ("success", "fail", "compute_infer"))
    parts = sum(stages[stage]["ns"] for stage in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert parts <= stages["success"]["ns"]
    assert after["inference_count"] - before["inference_count"] == 4
    batches = sum(each["batch_size"] * each["compute_infer"]["count"] for each in after["batch_stats"])
    assert batches == after["inference_count"]
    assert sum(each["compute_infer"]["count"] for each in after["batch_stats"]) == after["execution_count"]
    assert after["last_inference"] >= before["last_inference"]


@pytest.mark.parametrize(
    ("status", "words", "call"),
    [
        ("404", "no model 'other'", lambda c, x: c.infer("other", [tensor("pixels", x)])),
        ("404", "no version '9'", lambda c, x: c.infer(MODEL, [tensor("pixels", x)], "9")),
        ("404", "no model 'other'", lambda c, x: c.get_model_metadata("other")),
        ("404", "no version '9'", lambda c, x: c.get_model_config(MODEL, "9")),
        ("404", "no model 'other'", lambda c, x: c.get_inference_statistics("other")),
        ("404", "nothing at /v2/logging", lambda c, x: c.get_log_settings()),
        ("404", "nothing at", lambda c, x: c.get_system_shared_memory_status()),
        ("400", "no input 'x'", lambda c, x: c.infer(MODEL, [tensor("x", x)])),
        ("400", "Send one of them", lambda c, x: c.infer(MODEL, [tensor("pixels", x), tensor("image", TEXT)])),
        ("400", r"Send \[-1, 3, 32, 32\]", lambda c, x: c.infer(MODEL, [tensor("pixels", x[:, :, 1:])])),
        ("400", "not finite", lambda c, x: c.infer(MODEL, [tensor("pixels", x * np.inf)])),
        ("400", "not JSON", lambda c, x: c.infer(MODEL, [tensor("pixels", x * np.inf, False)])),
        ("400", "no output 'y'", lambda c, x: c.infer(MODEL, [tensor("pixels", x)], "", [InferRequestedOutput("y")])),
        ("400", "no bytes", lambda c, x: c.infer(MODEL, [tensor("image", np.array([b""], object))])),
        ("413", "at most 32", lambda c, x: c.infer(MODEL, [tensor("pixels", np.tile(x, (11, 1, 1, 1)))])),
        ("413", "at most 32", lambda c, x: c.infer(MODEL, [tensor("image", np.array([b""] * 33, object))])),
        ("415", "Input 'image': File 2", lambda c, x: c.infer(MODEL, [tensor("image", TEXT)])),
        ("415", "JPEG, PNG or WebP", lambda c, x: c.infer(MODEL, [tensor("image", TEXT[1:], False)])),
        ("422", "damaged", lambda c, x: c.infer(MODEL, [tensor("image", np.array([IMAGES[0][:-99]], object))])),
        ("504", "in time", lambda c, x: c.infer(MODEL, [tensor("pixels", x)], timeout=1)),
    ],
)
def test_triton_errors(
    triton: InferenceServerClient,
    pixels: np.ndarray,
    status: str,
    words: str,
    call: Callable[[InferenceServerClient, np.ndarray], object],
) -> None:
    with pytest.raises(InferenceServerException, match=words) as caught:
        call(triton, pixels)
    assert caught.value.status() == status


def test_triton_on_asyncio(url: str, pixels: np.ndarray, logits: np.ndarray) -> None:
    async def run() -> None:
        async with AioClient(url.removeprefix("http://")) as client:
            # This client announces that it takes compressed answers, and expands none but those of inference.
            assert await client.is_server_ready()
            assert (await client.get_model_metadata(MODEL))["name"] == MODEL
            assert (await client.get_model_config(MODEL))["name"] == MODEL
            assert (await client.get_inference_statistics())["model_stats"]
            assert await client.get_model_repository_index()
            many = np.tile(pixels, (10, 1, 1, 1))
            for compression in (None, "gzip", "deflate"):
                result = await client.infer(
                    MODEL,
                    [tensor("pixels", many)],
                    request_compression_algorithm=compression,
                    response_compression_algorithm=compression,
                )
                assert result.as_numpy("logits") == close(np.tile(logits, (10, 1)))
            with pytest.raises(InferenceServerException, match="no model 'other'"):
                await client.infer("other", [tensor("pixels", pixels)])

    asyncio.run(run())
