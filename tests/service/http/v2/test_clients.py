"""The clients that people use, unmodified, against a server process: tritonclient (gevent and asyncio) and kserve."""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx
import numpy as np
import pytest
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput
from PIL import Image
from tritonclient.http import InferenceServerClient, InferRequestedOutput
from tritonclient.http import InferInput as TritonInput
from tritonclient.http.aio import InferenceServerClient as AioClient
from tritonclient.http.auth import BasicAuth
from tritonclient.utils import InferenceServerException

from service.model_process.classifier import Classifier
from service.model_process.mixed_batch import split
from service.repository.folders import locate
from tests.support.memories_client import coloured, zipped
from tests.support.running_server import running_server
from tests.support.service_client import LABELS
from tests.support.service_images import FORMATS, encode, scene
from tests.support.waiting import CEILING, wait_for

T = TypeVar("T")

KEY = "correct horse battery staple"
MODEL = "colours"
IMAGES = [encode(scene(), format) for format in FORMATS]


@pytest.fixture(scope="module")
def url(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("repository")
    for name in (MODEL, "broken", "spare"):
        shutil.copytree(model_folder, root / name / "1")
    (root / "broken" / "1" / "model.safetensors").write_bytes(b"torn")
    hashed = hashlib.sha256(KEY.encode()).hexdigest()
    settings = {"AIT_MODELS": str(root), "AIT_MODEL": MODEL, "AIT_MEMORIES": str(root.with_name("m.sqlite3"))}
    with running_server(AIT_TORCH_THREADS="1", AIT_ADMIN_KEY_SHA256=hashed, **settings) as (url, _):
        yield url


@pytest.fixture(scope="module")
def triton(url: str) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(url.removeprefix("http://"), concurrency=4) as client:
        yield client


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(3, 3, 32, 32)).astype(np.float32)


@pytest.fixture(scope="module")
def logits(model_folder: Path, pixels: np.ndarray) -> np.ndarray:
    classifier = Classifier(locate(model_folder))
    return classifier.logits(split(list(pixels)))


def tensor(name: str, array: np.ndarray, binary: bool = True) -> TritonInput:
    datatype = "BYTES" if array.dtype == object else "FP32"
    return TritonInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary)


def softmax(values: np.ndarray) -> np.ndarray:
    exponentials = np.exp(values - values.max(-1, keepdims=True))
    return exponentials / exponentials.sum(-1, keepdims=True)


def close(values: np.ndarray) -> Any:
    return pytest.approx(values, abs=2e-5)


# ---- tritonclient ----


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


TEXT = np.array([IMAGES[0], b"text"], object)


# ---- tritonclient on asyncio ----


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


# ---- kserve ----


def with_kserve(url: str, use: Callable[[InferenceRESTClient], Awaitable[T]]) -> T:
    async def run() -> T:
        async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:
            return await use(client)

    return asyncio.run(run())


def kserve_tensor(name: str, array: np.ndarray, binary: bool) -> InferInput:
    item = InferInput(name, list(array.shape), "BYTES" if array.dtype == object else "FP32")
    item.set_data_from_numpy(array, binary_data=binary)
    return item


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


# ---- the repository ----


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


def test_a_large_answer_is_compressed_for_who_asks(url: str) -> None:
    item = {"name": "pixels", "shape": [32, 3, 32, 32], "datatype": "FP32", "data": [0] * 32 * 3 * 32 * 32}
    seen = {}
    for accepted in ("gzip", "deflate", "br", "identity"):
        headers = {"Accept-Encoding": accepted}
        response = httpx.post(f"{url}/v2/models/{MODEL}/infer", json={"inputs": [item]}, headers=headers)
        seen[response.headers.get("content-encoding")] = len(response.json()["outputs"][0]["data"])
        assert response.headers["vary"] == "Accept-Encoding"
    assert seen == {"gzip": 96, "deflate": 96, None: 96}


def test_an_image_of_the_largest_batch(triton: InferenceServerClient) -> None:
    array = np.array([encode(Image.new("RGB", (8, 8), (index, 0, 0))) for index in range(32)], object)
    assert triton.infer(MODEL, [tensor("image", array)]).as_numpy("logits").shape == (32, 3)


@pytest.fixture(scope="module")
def memory(url: str) -> str:
    """The name of a memory that has been taught two colours."""
    with httpx.Client(base_url=f"{url}/v1/memories/", timeout=CEILING) as client:
        assert client.put("taught", json={"readout": "prototype"}).status_code == 201
        archive = zipped(
            {f"{label}/{each}.png": coloured(label, each) for label in ("red", "blue") for each in range(4)}
        )
        assert client.post("taught/examples", content=archive).json()["stored"] == 8
    wait_for(lambda: httpx.get(f"{url}/v2/models/taught/ready").status_code == 200, "the memory to be a model")
    return "taught"


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
