"""Encode the body of an inference response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic_core import to_json as write_json

from service.inference_protocol.errors import quoted
from service.inference_protocol.tensors import to_binary, to_json


@dataclass(frozen=True)
class OutputTensor:
    """A tensor that is answered: `array` has the datatype's dtype, or objects that are bytes for BYTES."""

    name: str
    datatype: str
    array: np.ndarray
    binary: bool


@dataclass(frozen=True)
class EncodedResponse:
    """A body, and the length of its JSON part if binary data follows."""

    body: bytes
    header_length: int | None


def encode_response(
    outputs: Sequence[OutputTensor], *, model: str, version: str, request_id: str | None = None
) -> EncodedResponse:
    """Encode the body of a successful answer.

    Raises:
        ProtocolError: An output that is wanted in JSON has values that JSON cannot say.
    """
    described, binary = [], []
    for output in outputs:
        item: dict[str, Any] = {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.array.shape),
        }
        if output.binary:
            binary.append(to_binary(output.datatype, output.array))
            item["parameters"] = {"binary_data_size": len(binary[-1])}
        else:
            item["data"] = to_json(output.datatype, output.array, f"Output {quoted(output.name)}")
        described.append(item)
    document: dict[str, Any] = {"model_name": model, "model_version": version, "outputs": described}
    if request_id is not None:
        document["id"] = request_id
    header = write_json(document)
    return EncodedResponse(b"".join([header, *binary]), len(header) if binary else None)
