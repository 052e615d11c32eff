"""Describe a model as the inference protocol does: its signature, metadata and configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.inference_protocol import Signature, TensorSpec
from service.models.served_model import ServedModel

PIXELS, IMAGE = "pixels", "image"
LOGITS, PROBABILITIES = "logits", "probabilities"

_PLATFORM = "pytorch_timm"


def signature_of(model: ServedModel) -> Signature:
    """Describe the inputs and outputs of a model.

    A request gives one of the inputs: `pixels`, normalised already, or `image`, encoded images of any size.
    """
    classes = len(model.labels)
    return Signature(
        inputs=(TensorSpec(PIXELS, "FP32", (-1, *model.input_size)), TensorSpec(IMAGE, "BYTES", (-1,))),
        outputs=(TensorSpec(LOGITS, "FP32", (-1, classes)), TensorSpec(PROBABILITIES, "FP32", (-1, classes))),
        max_batch=model.max_batch,
    )


def model_metadata(model: ServedModel, versions: Sequence[str]) -> dict[str, Any]:
    """Make the answer to a metadata request."""
    signature = signature_of(model)
    return {
        "name": model.folder.name,
        "versions": list(versions),
        "platform": _PLATFORM,
        "inputs": [spec.describe() for spec in signature.inputs],
        "outputs": [spec.describe() for spec in signature.outputs],
    }


def model_config(model: ServedModel) -> dict[str, Any]:
    """Describe the model as Triton's ModelConfig message does in JSON; dims are without the batch."""
    signature = signature_of(model)
    return {
        "name": model.folder.name,
        "platform": _PLATFORM,
        "backend": "pytorch",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": signature.max_batch,
        "input": [{**_in_config(spec), "format": "FORMAT_NONE", "optional": True} for spec in signature.inputs],
        "output": [_in_config(spec) for spec in signature.outputs],
        "dynamic_batching": {},
        "parameters": {"architecture": {"string_value": model.folder.architecture}},
    }


def _in_config(spec: TensorSpec) -> dict[str, Any]:
    datatype = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return {"name": spec.name, "data_type": f"TYPE_{datatype}", "dims": list(spec.shape[1:])}
