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

from ait_lite.runtimes.graph import Outputs, fastest, join

if "openvino" not in sys.modules:
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it fails
import openvino as openvino  # offered to others, who then have it without reports of its use

PIECE: Final = 8  # images that are run at once, where that is faster than one by one
_LONG: Final = 0.02  # seconds of an image that is never run together with others: they would wait for each other

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

    A graph for any number of images settles its shapes and its memory anew for every batch, and two graphs take turns
    in the processor's caches with their copies of the weights: under a load of batches of all sizes either costs a
    third of the rate. The images of a batch are therefore run one by one, in a graph that was compiled for a single
    one; most models are as fast so. Where a graph for several is faster, it runs as many of a batch as fill it.

    Attributes:
        piece: Images that are run at once; batches of more are fastest in multiples of it.
    """

    def __init__(
        self,
        path: Path,
        precision: str = "fp32",
        *,
        threads: int = 1,
        streams: int = 1,
        size: tuple[int, int] | None = None,
        most: int | None = None,
    ) -> None:
        """Compile the file.

        Args:
            path: The ONNX file.
            precision: One of ``fp32``, ``bf16`` and ``int8``.
            threads: A batch is run on.
            streams: Batches that are run at the same time.
            size: Height and width of images, if others than the file is made for.
            most: Images of a batch; None is any number.
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
        shape = [channels, *(sides if size is None else (int(side) for side in size))]  # of an image
        graph.reshape({0: [1, *shape]})
        self._one = _Compiled(graph, settings)
        # The ranges of numbers that are quantised on the way are those of all images that are run together: an answer
        # would depend on the others.
        fixed = graph.input(0).partial_shape.is_static
        may = fixed and precision != "int8" and (most is None or most >= PIECE)
        self._several = self._faster(graph, settings) if may else None
        self.piece = PIECE if self._several else 1

    def __call__(self, pixels: np.ndarray) -> Outputs:
        """Run a batch of normalised float32 pixels (B, C, H, W)."""
        if not len(pixels):
            none = self._one(np.zeros((1, *pixels.shape[1:]), np.float32))
            return Outputs(none.logits[:0], None if none.features is None else none.features[:0])
        found, at = [], 0
        while at < len(pixels):
            run = self._several if self._several and len(pixels) - at >= PIECE else self._one
            found.append(run(pixels[at : at + run.size]))
            at += run.size
        return join(found)

    def _faster(self, graph: openvino.Model, settings: dict[str, Any]) -> _Compiled | None:
        """Compile for several images, if they take less time at once than one by one, and one does not take long."""
        pixels = np.zeros((PIECE, *graph.input(0).shape[1:]), np.float32)
        if _seconds(self._one, pixels[:1]) > _LONG:
            return None
        try:
            graph.reshape({0: pixels.shape})
            several = _Compiled(graph, settings)
        except RuntimeError:  # a graph that was written for single images
            return None
        return several if _seconds(several, pixels) < _seconds(self._one, pixels) else None


class _Compiled:
    """A graph that is compiled for batches of a size."""

    def __init__(self, graph: openvino.Model, settings: dict[str, Any]) -> None:
        self.size: int = graph.input(0).partial_shape[0].get_length()
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


def _seconds(run: _Compiled, pixels: np.ndarray) -> float:
    """Measure how long a graph takes for some images, in batches of its size."""
    return fastest(lambda: [run(pixels[at : at + run.size]) for at in range(0, len(pixels), run.size)])
