"""The codec of the inference protocol against hypothesis' arrays and against the clients' own bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from kserve import InferInput as KserveInput
from kserve import InferRequest as KserveRequest
from kserve import InferResponse as KserveResponse
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import serialize_byte_tensor, triton_to_np_dtype

from service.inference_protocol import (
    InferenceRequest,
    OutputTensor,
    ProtocolError,
    Signature,
    TensorSpec,
    encode_response,
    parse_request,
)
from service.inference_protocol.tensors import DATATYPES, FIXED, from_binary, from_json, to_binary, to_json

LAW = hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=6)


def byte_arrays(elements: st.SearchStrategy[bytes]) -> st.SearchStrategy[np.ndarray]:
    return SHAPES.flatmap(lambda shape: arrays.arrays(object, shape, elements=elements, fill=st.nothing()))


def fixed_arrays(datatype: str, finite: bool = False) -> st.SearchStrategy[np.ndarray]:
    dtype = FIXED[datatype]
    options = {"allow_nan": not finite, "allow_infinity": not finite} if dtype.kind == "f" else {}
    return arrays.arrays(dtype, SHAPES, elements=arrays.from_dtype(dtype, **options))


def tensors(binary: bool) -> st.SearchStrategy[tuple[str, np.ndarray]]:
    """(datatype, array) for everything that has the form; the elements of BYTES are bytes."""
    texts = byte_arrays(st.binary(max_size=9) if binary else TEXTS.map(str.encode))
    fixed = [name for name in FIXED if binary or name != "FP16"]
    return st.one_of(
        *(fixed_arrays(name, finite=not binary).map(lambda array, name=name: (name, array)) for name in fixed),
        texts.map(lambda array: ("BYTES", array)),
    )


def same(first: np.ndarray, second: np.ndarray) -> bool:
    assert first.shape == second.shape
    if first.dtype == object:
        return first.tolist() == second.tolist()
    assert first.dtype == second.dtype
    return first.tobytes() == second.tobytes()


def signature(**inputs: tuple[str, tuple[int, ...]]) -> Signature:
    specs = tuple(TensorSpec(name, datatype, shape) for name, (datatype, shape) in inputs.items())
    return Signature(specs, (TensorSpec("out", "FP32", (-1, 2)), TensorSpec("more", "FP32", (-1, 2))), max_batch=4)


def parse(body: bytes, header_length: int | None, of: Signature) -> InferenceRequest:
    return parse_request(body, header_length, of, max_json_bytes=100_000)


def as_request(document: Any, of: Signature, binary: bytes = b"") -> InferenceRequest:
    head = document if isinstance(document, bytes) else json.dumps(document).encode()
    return parse(head + binary, len(head) if binary else None, of)


# ---- round trips ----


@LAW
@given(tensors(binary=True))
def test_bytes_come_back(tensor: tuple[str, np.ndarray]) -> None:
    datatype, array = tensor
    data = to_binary(datatype, array)
    back = from_binary(datatype, array.shape, memoryview(data), "It")
    assert same(back, array)
    assert to_binary(datatype, back) == data
    if datatype != "BYTES" and data:
        assert not back.flags.owndata  # a view, not a copy


@LAW
@given(tensors(binary=False), st.booleans())
def test_json_comes_back(tensor: tuple[str, np.ndarray], nested: bool) -> None:
    datatype, array = tensor
    data = json.loads(json.dumps(to_json(datatype, array, "It")))
    if nested and array.ndim:
        texts = np.array(data, object).reshape(array.shape)
        data = texts.tolist()
    assert same(from_json(datatype, array.shape, data, "It"), array)


@LAW
@given(arrays.arrays(np.uint16, SHAPES))
def test_bf16_is_the_upper_half_of_a_float(halves: np.ndarray) -> None:
    array = from_binary("BF16", halves.shape, memoryview(halves.tobytes()), "It")
    assert array.dtype == np.float32
    assert array.tobytes() == (halves.astype(np.uint32) << 16).tobytes()


# ---- the clients' bytes ----


@LAW
@given(st.lists(st.booleans().flatmap(lambda b: st.tuples(st.just(b), tensors(binary=b))), min_size=1, max_size=3))
def test_what_tritonclient_sends(parts: list[tuple[bool, tuple[str, np.ndarray]]]) -> None:
    inputs, specs = [], {}
    for number, (binary, (datatype, array)) in enumerate(parts):
        name = f"in{number}"
        inputs.append(InferInput(name, list(array.shape), datatype).set_data_from_numpy(array, binary_data=binary))
        specs[name] = (datatype, array.shape)
    body, header_length = InferenceServerClient.generate_request_body(inputs, request_id="7", timeout=1500)
    request = parse(body, header_length, signature(**specs))
    assert request.id == "7"
    assert request.timeout == pytest.approx(0.0015)
    assert [(output.name, output.binary) for output in request.outputs] == [("out", True), ("more", True)]
    for number, (_, (_, array)) in enumerate(parts):
        assert same(request.inputs[f"in{number}"], array)


@LAW
@given(byte_arrays(st.binary(max_size=9)))
def test_bytes_are_written_as_tritonclient_does(array: np.ndarray) -> None:
    assert to_binary("BYTES", array) == (serialize_byte_tensor(array).item() if array.size else b"")


@LAW
@given(tensors(binary=True).filter(lambda tensor: tensor[1].size > 0), TEXTS)
def test_what_kserve_sends(tensor: tuple[str, np.ndarray], request_id: str) -> None:
    datatype, array = tensor
    item = KserveInput("in0", list(array.shape), datatype)
    item.set_data_from_numpy(array, binary_data=True)
    body, header_length = KserveRequest("model", [item], request_id=request_id or None).to_rest()
    assert same(parse(body, header_length, signature(in0=(datatype, array.shape))).inputs["in0"], array)


@LAW
@given(st.lists(st.booleans().flatmap(lambda b: st.tuples(st.just(b), tensors(binary=b))), min_size=1, max_size=3))
def test_the_clients_read_what_is_answered(parts: list[tuple[bool, tuple[str, np.ndarray]]]) -> None:
    outputs = [
        OutputTensor(f"out{number}", datatype, array, binary)
        for number, (binary, (datatype, array)) in enumerate(parts)
    ]
    response = encode_response(outputs, model="m", version="3", request_id="é")
    result = InferenceServerClient.parse_response_body(response.body, header_length=response.header_length)
    assert result.get_response()["id"] == "é"
    assert (result.get_response()["model_name"], result.get_response()["model_version"]) == ("m", "3")
    head = len(response.body) if response.header_length is None else response.header_length
    seen_by_kserve = (
        {output.name: output for output in KserveResponse.from_bytes(response.body, head).outputs}
        if all(array.size and datatype != "BYTES" for _, (datatype, array) in parts)
        else {}
    )
    for number, (binary, (datatype, array)) in enumerate(parts):
        read = result.as_numpy(f"out{number}")
        if datatype == "BYTES" and not binary:
            read = np.array([text.encode() for text in read.flat], object).reshape(read.shape)
        assert read.shape == array.shape
        assert same(read.astype(FIXED.get(datatype, object)), array)
        if seen_by_kserve:
            again = seen_by_kserve[f"out{number}"]
            assert np.array_equal(again.as_numpy(), array, equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize("datatype", [name for name in DATATYPES if name != "BF16"])
def test_the_datatypes_are_those_of_the_clients(datatype: str) -> None:
    assert np.dtype(triton_to_np_dtype(datatype)) == FIXED.get(datatype, np.dtype(object))


def test_which_outputs_are_binary() -> None:
    of = signature(x=("FP32", (-1, 1)))
    tensor = InferInput("x", [1, 1], "FP32").set_data_from_numpy(np.ones((1, 1), np.float32))

    def wanted(document: dict[str, Any], binary: bytes = b"") -> list[tuple[str, bool, int]]:
        request = as_request(document, of, binary)
        return [(output.name, output.binary, output.classes) for output in request.outputs]

    in_json: dict[str, Any] = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1]}]}
    in_binary: dict[str, Any] = {"inputs": [tensor._get_tensor()]}
    # Plain JSON is answered in JSON; who sends binary data gets it, unless the request says otherwise.
    assert wanted(in_json) == [("out", False, 0), ("more", False, 0)]
    assert wanted(in_binary, bytes(4)) == [("out", True, 0), ("more", True, 0)]
    for asked in (True, False):
        parameters = {"parameters": {"binary_data_output": asked}}
        assert wanted(in_json | parameters) == [("out", asked, 0), ("more", asked, 0)]
        assert wanted(in_binary | parameters, bytes(4)) == [("out", asked, 0), ("more", asked, 0)]
    some = [InferRequestedOutput("more", class_count=2)._get_tensor(), {"name": "out"}]
    assert wanted(in_json | {"outputs": some}) == [("more", True, 2), ("out", False, 0)]
    assert wanted(in_binary | {"outputs": some}, bytes(4)) == [("more", True, 2), ("out", False, 0)]
    asked_for = {"outputs": some, "parameters": {"binary_data_output": True}}
    assert wanted(in_json | asked_for) == [("more", True, 2), ("out", True, 0)]


# ---- refusals ----


def tensor(**changes: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | changes


def binary_tensor(size: Any, **changes: Any) -> dict[str, Any]:
    return tensor(data=None, parameters={"binary_data_size": size}, **changes)


@pytest.mark.parametrize(
    ("document", "binary", "words"),
    [
        (b"", b"", "not JSON"),
        (b"\xff\xfe", b"", "not JSON"),
        (b"[" * 100_000, b"", "not JSON"),
        (b'{"inputs": [{"data": [NaN]}]}', b"", "not JSON"),
        (b"[]", b"", "JSON object"),
        ({}, b"", "no inputs. The model takes: x"),
        ({"inputs": []}, b"", "no inputs"),
        ({"inputs": {}}, b"", "'inputs' is not a list"),
        ({"inputs": [1]}, b"", "'inputs' is not a list"),
        ({"inputs": [tensor()], "id": 7}, b"", "id 7 is not a string"),
        ({"inputs": [tensor()], "parameters": []}, b"", "parameters that are not an object"),
        ({"inputs": [tensor()], "parameters": {"timeout": -1}}, b"", "timeout = -1"),
        ({"inputs": [tensor()], "parameters": {"timeout": True}}, b"", "timeout = True"),
        ({"inputs": [tensor()], "parameters": {"binary_data_output": 1}}, b"", "binary_data_output = 1"),
        ({"inputs": [tensor(name="y")]}, b"", "no input 'y'. There is: x"),
        ({"inputs": [tensor(name=None)]}, b"", "no input None"),
        ({"inputs": [tensor(), tensor()]}, b"", "Input 'x' is given twice"),
        ({"inputs": [tensor(parameters=7)]}, b"", "Input 'x' has parameters"),
        ({"inputs": [tensor(datatype="FP64")]}, b"", "Input 'x' has the datatype 'FP64'. Send FP32"),
        ({"inputs": [tensor(datatype=None)]}, b"", "Send FP32"),
        ({"inputs": [tensor(shape=None)]}, b"", "Input 'x' has the shape None"),
        ({"inputs": [tensor(shape=[1, -2])]}, b"", r"shape \[1, -2\]"),
        ({"inputs": [tensor(shape=[1, 2.0])]}, b"", "shape"),
        ({"inputs": [tensor(shape=[True, 2])]}, b"", "shape"),
        ({"inputs": [tensor(shape=[10**30, 2])]}, b"", "shape"),
        ({"inputs": [tensor(shape=[0, 2], data=[])]}, b"", "-1 is at least 1"),
        ({"inputs": [tensor(shape=[2])]}, b"", r"Send \[-1, 2\]"),
        ({"inputs": [tensor(shape=[1, 3])]}, b"", r"Send \[-1, 2\]"),
        ({"inputs": [tensor(shape=[5, 2])]}, b"", "batch of 5; at most 4"),
        ({"inputs": [tensor(data=None)]}, b"", "not a list"),
        ({"inputs": [tensor(data="1,2")]}, b"", "not a list"),
        ({"inputs": [tensor(data=[1])]}, b"", "Input 'x' has 1 elements"),
        ({"inputs": [tensor(data=[[1, 2], [3, 4]])]}, b"", "not nested"),
        ({"inputs": [tensor(data=[[1]])]}, b"", "not nested"),
        ({"inputs": [tensor(data=[[1, [2]]])]}, b"", r"\[2\] at place 1"),
        ({"inputs": [tensor(data=[1, "2"])]}, b"", "'2' at place 1"),
        ({"inputs": [tensor(data=[1, True])]}, b"", "numbers only"),
        ({"inputs": [tensor(data=[1, None])]}, b"", "numbers only"),
        ({"inputs": [tensor(data=[1, 4e38])]}, b"", "FP32 does not hold"),
        ({"inputs": [tensor(data=[1, 10**400])]}, b"", "FP32 does not hold"),
        (b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,1e999]}]}', b"", "does not hold"),
        ({"inputs": [binary_tensor(8)]}, b"", "8 bytes of binary data, and 0 are left. Give Inference-Header"),
        ({"inputs": [binary_tensor(8)]}, bytes(7), "8 bytes of binary data, and 7 are left. Correct"),
        ({"inputs": [binary_tensor(8)]}, bytes(9), "1 bytes follow"),
        ({"inputs": [binary_tensor(4)]}, bytes(4), "has 4 bytes of binary data; FP32 of shape .* takes 8"),
        ({"inputs": [binary_tensor(-8)]}, bytes(8), "binary_data_size -8"),
        ({"inputs": [binary_tensor(8.0)]}, bytes(8), "binary_data_size 8.0"),
        ({"inputs": [binary_tensor(True)]}, bytes(8), "binary_data_size True"),
        ({"inputs": [binary_tensor(2**70)]}, bytes(8), "8 are left"),
        ({"inputs": [tensor(parameters={"binary_data_size": 8})]}, bytes(8), "both data and binary_data_size"),
        ({"inputs": [tensor(parameters={"shared_memory_region": "r"})]}, b"", "shared memory"),
        ({"inputs": [tensor()], "outputs": 3}, b"", "'outputs' is not a list"),
        ({"inputs": [tensor()], "outputs": [{"name": "z"}]}, b"", "no output 'z'. There is: out, more"),
        ({"inputs": [tensor()], "outputs": [{"name": "out"}] * 2}, b"", "Output 'out' is asked for twice"),
        ({"inputs": [tensor()], "outputs": [{"name": "out", "parameters": {"binary_data": 1}}]}, b"", "binary_data"),
        ({"inputs": [tensor()], "outputs": [{"name": "out", "parameters": {"classification": -1}}]}, b"", "= -1"),
        (
            {"inputs": [tensor()], "outputs": [{"name": "out", "parameters": {"shared_memory_region": "r"}}]},
            b"",
            "shared memory",
        ),
    ],
)
def test_refusals_name_the_place(document: Any, binary: bytes, words: str) -> None:
    of = signature(x=("FP32", (-1, 2)))
    assert as_request({"inputs": [tensor()]}, of).inputs["x"].tolist() == [[1, 2]]
    with pytest.raises(ProtocolError, match=words) as caught:
        as_request(document, of, binary)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("length", [0, -1, 10**30])
def test_impossible_header_lengths(length: int) -> None:
    with pytest.raises(ProtocolError, match="Inference-Header-Content-Length"):
        parse(json.dumps({"inputs": [tensor()]}).encode(), length, signature(x=("FP32", (-1, 2))))


def test_the_json_part_has_a_limit_and_binary_data_does_not_count() -> None:
    of = signature(x=("UINT8", (1, 100_000)))
    body, length = InferenceServerClient.generate_request_body(
        [InferInput("x", [1, 100_000], "UINT8").set_data_from_numpy(np.zeros((1, 100_000), np.uint8))]
    )
    assert parse(body, length, of).inputs["x"].shape == (1, 100_000)
    body, length = InferenceServerClient.generate_request_body(
        [InferInput("x", [1, 100_000], "UINT8").set_data_from_numpy(np.zeros((1, 100_000), np.uint8), False)]
    )
    with pytest.raises(ProtocolError, match="Send tensors as binary data"):
        parse(body, length, of)


@pytest.mark.parametrize(
    ("datatype", "data", "words"),
    [
        ("BOOL", b"\0\2", "other than 0 and 1"),
        ("BYTES", b"\1\0\0\0a", "ends within element 1 of 2"),
        ("BYTES", b"\1\0\0\0a\xff\xff\xff\xffb", "ends within element 1"),
        ("BYTES", b"\1\0\0\0a\1\0\0\0bc", "1 bytes after the 2 elements"),
        ("BYTES", b"\1\0\0\0a\1\0\0", "ends within element 1"),
        ("BF16", b"\0\0\0", "BF16 of shape .* takes 4"),
    ],
)
def test_bytes_that_are_no_tensor(datatype: str, data: bytes, words: str) -> None:
    with pytest.raises(ProtocolError, match=f"^It .*{words}"):
        from_binary(datatype, (2,), memoryview(data), "It")


@pytest.mark.parametrize(
    ("datatype", "data"),
    [
        ("UINT8", [0, 256]),
        ("UINT8", [-1, 0]),
        ("INT64", [0, 2**63]),
        ("UINT64", [0, 2**64]),
        ("INT32", [0, 1.0]),
        ("INT32", [0, True]),
        ("BOOL", [0, 1]),
        ("BYTES", [1, 2]),
        ("BYTES", ["a", None]),
        ("FP16", [1, 2]),
        ("BF16", [1, 2]),
        ("FP32", [1, 3.5e38]),
    ],
)
def test_elements_that_a_datatype_does_not_hold(datatype: str, data: list[Any]) -> None:
    with pytest.raises(ProtocolError, match=r"^It "):
        from_json(datatype, (2,), data, "It")


def test_an_empty_tensor_of_astronomical_size() -> None:
    with pytest.raises(ProtocolError, match="too large"):
        from_binary("FP32", (0, 2**62, 2**62), memoryview(b""), "It")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_json_cannot_answer(value: float) -> None:
    output = OutputTensor("out", "FP32", np.full((1, 2), value, np.float32), binary=False)
    with pytest.raises(ProtocolError, match=r"Output 'out' .* binary data"):
        encode_response([output], model="m", version="1")
    with pytest.raises(ProtocolError, match="UTF-8"):
        to_json("BYTES", np.array([b"\xff"], object), "It")
