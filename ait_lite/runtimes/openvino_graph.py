"""Run a graph in OpenVINO.

OpenVINO's converter counts its users with the package `openvino-telemetry`. Files are read here by OpenVINO's core,
which does not, and that package is kept from being imported at all: OpenVINO then takes a stand-in that does nothing.
"""

from __future__ import annotations

import functools
import sys
import threading
from pathlib import Path
from typing import Any, Final

import numpy as np

from ait_lite.runtimes.graph import Outputs

if "openvino" not in sys.modules:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it fails
import openvino as openvino  # offered to others, who then have it without reports of its use

# Images of a batch that are run at once; more at a time are no faster, fewer are slower.
PIECE: Final = 8

_PRECISIONS = {"fp32": "f32", "bf16": "bf16", "int8": "f32"}  # of what is not quantised


@functools.cache
def core() -> openvino.Core:
    """Return the one core of the process, which lasts as long.

    On processors with AVX-512 a core gives the thread in which it is first used a stack for signal handlers, and
    unmaps it when it is deleted, in whichever thread. The next signal, such as that of a child that ends, would be
    written to what has been mapped in its place: images in memory, for one.
    """
    return openvino.Core()


def computes_bf16() -> bool:
    """Find out whether the processor has bf16 arithmetic."""
    return "BF16" in core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


class OpenVinoGraph:
    """An ONNX file in OpenVINO, on threads of OpenVINO's own.

    A graph for any number of images settles its shapes and its memory anew for every batch: for a small model that is
    a twentieth of the time. Whole pieces of a batch are therefore run in a graph that was compiled for their size.
    """

    def __init__(
        self,
        path: Path,
        precision: str = "fp32",
        *,
        threads: int = 1,
        streams: int = 1,
        size: tuple[int, int] | None = None,
        lone: bool = False,
    ) -> None:
        """Compile the file.

        Args:
            path: The ONNX file.
            precision: One of ``fp32``, ``bf16`` and ``int8``.
            threads: A batch is run on.
            streams: Batches that are run at the same time.
            size: Height and width of images, if others than the file is made for.
            lone: Whether every batch is to be a single image, for which alone the graph is compiled.
        """
        settings = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": threads * streams,
            # Pinned threads of two models, or of two processes, would share one core and leave another idle.
            "ENABLE_CPU_PINNING": False,
        }
        graph = core().read_model(path)
        _, channels, *sides = graph.input(0).partial_shape
        shape = [channels, *(sides if size is None else size)]
        self._piece = 1 if lone else PIECE
        graph.reshape({0: [self._piece, *shape]})
        self._of_pieces = _Compiled(graph, settings)
        self._of_any: _Compiled | None = None
        if not lone:
            graph.reshape({0: [-1, *shape]})
            self._of_any = _Compiled(graph, settings)

    def __call__(self, pixels: np.ndarray) -> Outputs:
        """Run a batch of normalised float32 pixels (B, C, H, W)."""
        whole = len(pixels) // self._piece * self._piece
        found = [self._of_pieces(pixels[at : at + self._piece]) for at in range(0, whole, self._piece)]
        if whole < len(pixels) or not found:
            assert self._of_any is not None
            found.append(self._of_any(pixels[whole:]))
        if len(found) == 1:
            return found[0]
        features = [each.features for each in found if each.features is not None]
        return Outputs(np.concatenate([each.logits for each in found]), np.concatenate(features) if features else None)


class _Compiled:
    """A graph that is compiled for its shape."""

    def __init__(self, graph: openvino.Model, settings: dict[str, Any]) -> None:
        self._model = core().compile_model(graph, "CPU", settings)
        self._logits = self._model.output("logits")
        names = {name for output in self._model.outputs for name in output.get_names()}
        self._features = self._model.output("features") if "features" in names else None
        self._own = threading.local()  # a request runs one batch at a time

    def __call__(self, pixels: np.ndarray) -> Outputs:
        request: Any = getattr(self._own, "request", None)
        if request is None:
            request = self._own.request = self._model.create_infer_request()
        # Results that are shared would be overwritten by the request's next batch.
        found = request.infer({0: pixels}, share_inputs=True, share_outputs=False)
        return Outputs(found[self._logits], None if self._features is None else found[self._features])
