"""Run a classifier's graph without torch: in OpenVINO or in ONNX Runtime, whichever is installed.

A prepared model is an ONNX file that maps normalised pixels (batch, C, H, W) to logits (batch, classes) and, of a
model that has them, features (batch, F), at any batch size; beside it stand inputs with the answers of the model it
was made of, so that whoever runs the graph can compare before it answers.

Nothing phones home: ONNX Runtime sends reports of its use on Linux too, and heeds this variable alone, read when it is
loaded; its `disable_telemetry_events` does not keep it from looking up where to.
"""

import os

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # before any module here loads the library

from ait_lite.runtimes.agreement import FEW, Agreement, compare, compare_graph
from ait_lite.runtimes.answering import Answering
from ait_lite.runtimes.graph import (
    GRAPH_RUNTIMES,
    PRECISIONS,
    Graph,
    Outputs,
    RuntimeUnavailable,
    check_available,
    fastest,
    join,
    open_graph,
    why,
)
from ait_lite.runtimes.prepared import (
    PreparedError,
    PreparedModel,
    Reference,
    is_prepared,
    read_prepared,
    refuse_prepared,
)

__all__ = [
    "FEW",
    "GRAPH_RUNTIMES",
    "PRECISIONS",
    "Agreement",
    "Answering",
    "Graph",
    "Outputs",
    "PreparedError",
    "PreparedModel",
    "Reference",
    "RuntimeUnavailable",
    "check_available",
    "compare",
    "compare_graph",
    "fastest",
    "is_prepared",
    "join",
    "open_graph",
    "read_prepared",
    "refuse_prepared",
    "why",
]
