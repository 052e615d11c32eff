"""Parse the body of an inference request and check it against a model's signature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import from_json as parse_json

from service.inference_protocol.errors import ProtocolError, TooLarge, quoted
from service.inference_protocol.signature import Signature
from service.inference_protocol.tensors import from_binary, from_json

_LONGEST = 10**15  # microseconds: beyond it a timeout means none


@dataclass(frozen=True)
class RequestedOutput:
    """An output that the client wants.

    Attributes:
        binary: As bytes after the JSON, not in it.
        classes: 0 for the tensor itself, else how many of its highest values, as text with their labels.
    """

    name: str
    binary: bool
    classes: int = 0


@dataclass(frozen=True)
class InferenceRequest:
    """The inputs that a client sends to a model, and the outputs it wants.

    Attributes:
        id: To be echoed; None if there is none.
        inputs: Arrays by name; views of the body where the datatype allows.
        timeout: Seconds the client gives the answer, None for as long as the server allows.
    """

    id: str | None
    inputs: dict[str, np.ndarray]
    outputs: tuple[RequestedOutput, ...]
    timeout: float | None


def parse_request(
    body: bytes | bytearray, header_length: int | None, signature: Signature, *, max_json_bytes: int
) -> InferenceRequest:
    """Parse a whole body, decompressed.

    Members and parameters that the protocol does not name are ignored, as are those for models with a state
    (`sequence_…`) and `priority`.

    Args:
        body: All of its bytes.
        header_length: Bytes of the JSON part, if the client said so; None makes all of the body JSON.
        signature: What the model takes and gives.
        max_json_bytes: Most bytes of the JSON part: tensors cost far more memory there than as binary data.

    Raises:
        ProtocolError: With what is wrong, where, and what helps.
        TooLarge: The JSON part or the batch.
    """
    document = _document(body, header_length, max_json_bytes)
    parameters = _parameters(document, "The request")
    request_id = document.get("id")
    if not isinstance(request_id, str | None):
        raise ProtocolError(f"The id {quoted(request_id)} is not a string. Send a string, or none.")
    inputs = _inputs(document, memoryview(body)[header_length:] if header_length else None, signature)
    return InferenceRequest(
        id=request_id,
        inputs=inputs,
        outputs=_outputs(document, parameters, header_length is not None, signature),
        timeout=_timeout(parameters),
    )


def _document(body: bytes | bytearray, header_length: int | None, limit: int) -> dict[str, Any]:
    size = len(body) if header_length is None else header_length
    if header_length is not None and not 0 < header_length <= len(body):
        raise ProtocolError(
            f"Inference-Header-Content-Length is {quoted(header_length)}, and the body, decompressed, has {len(body)} "
            "bytes. Give the bytes of its JSON part."
        )
    if size > limit:
        raise TooLarge(f"The JSON part has {size} bytes; at most {limit} are taken. Send tensors as binary data.")
    try:
        # Many times faster than the standard library's parser, and the event loop stands still meanwhile.
        document = parse_json(bytes(memoryview(body)[:size]), allow_inf_nan=False)
    except ValueError as error:
        hint = "" if header_length else " If binary data follows, give Inference-Header-Content-Length."
        raise ProtocolError(f"The request is not JSON: {error}. Correct it.{hint}") from error
    if not isinstance(document, dict):
        raise ProtocolError("The request is not a JSON object. Send one with a list 'inputs'.")
    return document


def _inputs(document: dict[str, Any], binary: memoryview | None, signature: Signature) -> dict[str, np.ndarray]:
    inputs: dict[str, np.ndarray] = {}
    start = 0
    listed = _objects(document.get("inputs"), "inputs")
    if not listed:
        names = ", ".join(spec.name for spec in signature.inputs)
        raise ProtocolError(f"The request has no inputs. The model takes: {names}.")
    for item in listed:
        spec = signature.input(item.get("name"))
        place = f"Input {quoted(spec.name)}"
        if spec.name in inputs:
            raise ProtocolError(f"{place} is given twice. Give it once.")
        shape = _shape(item.get("shape"), place)
        signature.check(spec, item.get("datatype"), shape)
        size = _binary_size(item, place)
        if size is None:
            inputs[spec.name] = from_json(spec.datatype, shape, item.get("data"), place)
            continue
        left = 0 if binary is None else len(binary) - start
        if size > left:
            remedy = "Give Inference-Header-Content-Length." if binary is None else "Correct binary_data_size."
            raise ProtocolError(f"{place} says {size} bytes of binary data, and {left} are left. {remedy}")
        data = memoryview(b"") if binary is None else binary[start : start + size]
        inputs[spec.name] = from_binary(spec.datatype, shape, data, place)
        start += size
    if binary is not None and start != len(binary):
        raise ProtocolError(
            f"{len(binary) - start} bytes follow the binary data of the inputs. Leave them out, or correct "
            "binary_data_size or Inference-Header-Content-Length."
        )
    return inputs


def _binary_size(item: dict[str, Any], place: str) -> int | None:
    """Read how many bytes of binary data an input has; None for one in JSON."""
    parameters = _parameters(item, place)
    if "shared_memory_region" in parameters:
        raise ProtocolError(f"{place} is in shared memory, which is not offered. Send it as binary data.")
    if (size := parameters.get("binary_data_size")) is None:
        return None
    if type(size) is not int or size < 0:
        raise ProtocolError(f"{place} has the binary_data_size {quoted(size)}. Give a number of bytes.")
    if item.get("data") is not None:
        raise ProtocolError(f"{place} has both data and binary_data_size. Give one of them.")
    return size


def _outputs(
    document: dict[str, Any], parameters: dict[str, Any], binary_request: bool, signature: Signature
) -> tuple[RequestedOutput, ...]:
    listed = _objects(document.get("outputs"), "outputs")
    asked = _flag(parameters, "binary_data_output", "The request")
    if not listed:
        # Who sends binary data reads it; who sends JSON alone may know nothing of the extension.
        binary = binary_request if asked is None else asked
        return tuple(RequestedOutput(spec.name, binary) for spec in signature.outputs)
    outputs: dict[str, RequestedOutput] = {}
    for item in listed:
        spec = signature.output(item.get("name"))
        place = f"Output {quoted(spec.name)}"
        if spec.name in outputs:
            raise ProtocolError(f"{place} is asked for twice. Ask once.")
        chosen = _parameters(item, place)
        if "shared_memory_region" in chosen:
            raise ProtocolError(f"{place} is wanted in shared memory, which is not offered. Ask for binary data.")
        own = _flag(chosen, "binary_data", place)
        binary = bool(asked) if own is None else own
        outputs[spec.name] = RequestedOutput(spec.name, binary, _count(chosen, "classification", place) or 0)
    return tuple(outputs.values())


def _timeout(parameters: dict[str, Any]) -> float | None:
    microseconds = _count(parameters, "timeout", "The request")
    return microseconds / 1e6 if microseconds and microseconds < _LONGEST else None


def _objects(value: Any, name: str) -> Sequence[dict[str, Any]]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise ProtocolError(f"{name!r} is not a list of objects. Send one object a tensor.")
    return value


def _parameters(item: dict[str, Any], place: str) -> dict[str, Any]:
    parameters = item.get("parameters")
    if not isinstance(parameters, dict | None):
        raise ProtocolError(f"{place} has parameters that are not an object. Send an object, or none.")
    return parameters or {}


def _shape(value: Any, place: str) -> tuple[int, ...]:
    if not isinstance(value, list) or not all(type(size) is int and 0 <= size < 2**63 for size in value):
        raise ProtocolError(f"{place} has the shape {quoted(value)}. Send a list of sizes, each an integer from 0.")
    return tuple(value)


def _flag(parameters: dict[str, Any], name: str, place: str) -> bool | None:
    if not isinstance(value := parameters.get(name), bool | None):
        raise ProtocolError(f"{place} has {name} = {quoted(value)}. Send true or false.")
    return value


def _count(parameters: dict[str, Any], name: str, place: str) -> int | None:
    value = parameters.get(name)
    if value is not None and (type(value) is not int or value < 0):
        raise ProtocolError(f"{place} has {name} = {quoted(value)}. Send an integer from 0.")
    return value
