"""Run a graph in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from ait_lite.runtimes.graph import Outputs


def session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """Load and optimise a file, for `threads` threads a call."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Helpers that wait awake would take the processors from those that decode and answer.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3  # errors
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


class OnnxRuntimeGraph:
    """An ONNX file in ONNX Runtime; a batch is computed on the thread that asks, and on helpers if there are any.

    Attributes:
        piece: 1; batches of any size are as good.
    """

    piece = 1

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Load and optimise the file, for `threads` threads a batch."""
        self._session = session(path, threads)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]

    def __call__(self, pixels: np.ndarray) -> Outputs:
        """Run a batch of normalised float32 pixels (B, C, H, W)."""
        found = dict(zip(self._outputs, self._session.run(None, {self._input: pixels}), strict=True))
        return Outputs(found["logits"], found.get("features"))
