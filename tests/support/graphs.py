"""Graphs of small models, for tests of the runtimes."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
from onnx import numpy_helper

from ait_lite.checkpoint import MANIFEST
from ait_lite.runtimes.prepared import GRAPH, sha256


def flip_weight(folder: Path) -> None:
    """Turn the sign of the largest tensor of a graph, and have the manifest vouch for the file."""
    model = onnx.load(folder / GRAPH)
    tensor = max(model.graph.initializer, key=lambda each: numpy_helper.to_array(each).size)
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, folder / GRAPH)
    vouch(folder)


def vouch(folder: Path) -> None:
    """Write the present length and digest of the graph into the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][GRAPH] = {"bytes": (folder / GRAPH).stat().st_size, "sha256": sha256(folder / GRAPH)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
