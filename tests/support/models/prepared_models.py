"""Small models that are served as a graph, without torch: a process with one starts in a fraction of the time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from ait_lite.checkpoint import CONFIG, WEIGHTS
from ait_lite.images.normalise import Normalising
from ait_lite.runtimes import Outputs, PreparedModel, Reference, open_graph
from ait_lite.runtimes.prepared import GRAPH, sha256, write_prepared

SIZE: Final = 32
_REGIONS: Final = 4  # along a side
_CONFIG: Final[dict[str, Any]] = {
    "input_size": [3, SIZE, SIZE],
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bilinear",
    "crop_pct": 1.0,
    "crop_mode": "center",
}
# What a server of such a model is told.
GRAPH_ONLY: Final = {"AIT_RUNTIME": "onnxruntime", "AIT_TORCH_THREADS": "1"}


def write_prepared_classifier(folder: Path, labels: list[str], seed: int = 0, *, features: bool = True) -> Path:
    """Write a prepared model that answers by the mean colours of sixteen regions; return its folder.

    Args:
        folder: Created.
        labels: Names of its classes.
        seed: Decides its weights.
        features: Whether its graph gives them.
    """
    folder.mkdir(parents=True)
    width = 3 * _REGIONS**2
    weights = np.random.default_rng(seed).normal(size=(width, len(labels))).astype(np.float32)
    _write_graph(folder / GRAPH, weights, features)
    config = {"architecture": "regions", "num_classes": len(labels), "label_names": labels, "pretrained_cfg": _CONFIG}
    (folder / CONFIG).write_text(json.dumps(config))
    # Beside the graph lie the weights that it was made of, by which memories know the model.
    save_file({"weights": weights}, folder / WEIGHTS)
    images = np.random.default_rng(1).integers(0, 256, (16, 3, SIZE, SIZE), np.uint8)
    answers: Outputs = open_graph("onnxruntime", folder / GRAPH)(Normalising(_CONFIG)(images))
    width = width if features else 0
    prepared = PreparedModel(folder, len(labels), width, _CONFIG, weights=sha256(folder / WEIGHTS))
    write_prepared(prepared, Reference(images, answers))
    return folder


def _write_graph(path: Path, weights: np.ndarray, features: bool) -> None:
    side = SIZE // _REGIONS
    nodes = [
        helper.make_node("AveragePool", ["pixels"], ["regions"], kernel_shape=[side, side], strides=[side, side]),
        helper.make_node("Flatten", ["regions"], ["features"]),
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", weights.shape[1]]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", weights.shape[0]]),
    ]
    graph = helper.make_graph(
        nodes,
        "regions",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])],
        outputs if features else outputs[:1],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
