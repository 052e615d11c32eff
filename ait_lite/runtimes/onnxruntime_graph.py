"""Run a graph in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime

from ait_lite.runtimes.graph import Outputs, join


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

    def __init__(self, path: Path, precision: str = "fp32", *, threads: int = 1) -> None:
        """Load and optimise the file.

        Args:
            path: The ONNX file.
            precision: ``fp32``, or ``int8`` for a graph that was quantised.
            threads: A batch is run on.
        """
        self._session = session(path, threads)
        self._input = self._session.get_inputs()[0].name
        self._outputs = [output.name for output in self._session.get_outputs()]
        # The ranges of numbers that are quantised on the way are those of all images that are run together: an answer
        # would depend on the others.
        self._one_by_one = precision == "int8"

    def __call__(self, pixels: np.ndarray) -> Outputs:
        """Run a batch of normalised float32 pixels (B, C, H, W)."""
        if self._one_by_one and len(pixels) > 1:
            return join([self._run(pixels[place : place + 1]) for place in range(len(pixels))])
        return self._run(pixels)

    def _run(self, pixels: np.ndarray) -> Outputs:
        found = dict(zip(self._outputs, self._session.run(None, {self._input: pixels}), strict=True))
        return Outputs(found["logits"], found.get("features"))
