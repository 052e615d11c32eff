"""Graphs of small models, for tests of the runtimes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
from onnx import numpy_helper

from ait_lite.checkpoint import MANIFEST
from ait_lite.runtimes.prepared import GRAPH, QUANTISED, sha256


def flip_weight(folder: Path, name: str = GRAPH) -> None:
    """Turn the sign of the largest tensor of a graph, and have the manifest vouch for the file."""
    model = onnx.load(folder / name)
    tensor = max(model.graph.initializer, key=lambda each: numpy_helper.to_array(each).size)
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, folder / name)
    vouch(folder, name)


def stand_in_for_int8(folder: Path) -> None:
    """Take the float32 graph for the one in int8, and have the manifest vouch for the file."""
    shutil.copyfile(folder / GRAPH, folder / QUANTISED)
    vouch(folder, QUANTISED)


def vouch(folder: Path, name: str = GRAPH) -> None:
    """Write the present length and digest of the graph into the manifest."""
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["files"][name] = {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
    (folder / MANIFEST).write_text(json.dumps(manifest))
