"""The one interface of the inference libraries: pixels in, logits and features out."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import numpy as np

GRAPH_RUNTIMES: Final = ("openvino", "onnxruntime")
PRECISIONS: Final = ("fp32", "bf16", "int8")


class RuntimeUnavailable(Exception):
    """A library that is not installed, or cannot compute so on this processor; the message names the remedy."""


def why(error: Exception) -> str:
    """Say in a line why a graph cannot be run."""
    if isinstance(error, RuntimeUnavailable):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


class Outputs(NamedTuple):
    """What a graph gives for a batch.

    Attributes:
        logits: Float32 (B, classes).
        features: Float32 (B, F); None for a model that has none.
    """

    logits: np.ndarray
    features: np.ndarray | None

    def first(self, count: int) -> Outputs:
        """Take those of the first images."""
        return Outputs(self.logits[:count], None if self.features is None else self.features[:count])


def join(parts: Sequence[Outputs]) -> Outputs:
    """Put the outputs of parts of a batch together; there is at least one."""
    if len(parts) == 1:
        return parts[0]
    features = [part.features for part in parts if part.features is not None]
    return Outputs(np.concatenate([part.logits for part in parts]), np.concatenate(features) if features else None)


def fastest(work: Callable[[], object], tries: int = 4) -> float:
    """Measure the seconds of work that is done several times: the first takes longer, and others may hold one up."""
    seconds = math.inf
    for _ in range(tries):
        start = time.perf_counter()
        work()
        seconds = min(seconds, time.perf_counter() - start)
    return seconds


class Graph(Protocol):
    """A graph that is ready to run, on several threads at the same time.

    Attributes:
        piece: Images that are run at once; batches of more are fastest in multiples of it.
    """

    piece: int

    def __call__(self, pixels: np.ndarray) -> Outputs:
        """Run a batch of normalised float32 pixels (B, C, H, W)."""


def check_available(runtime: str, precision: str = "fp32") -> None:
    """Check that a library is installed and computes in a precision here.

    Args:
        runtime: One of `GRAPH_RUNTIMES`.
        precision: One of `PRECISIONS`.

    Raises:
        RuntimeUnavailable: It is not, or it cannot.
    """
    if find_spec(runtime) is None:
        raise RuntimeUnavailable(f"{runtime} is not installed: pip install {runtime}")
    if precision != "bf16":
        return
    if runtime == "onnxruntime":
        raise RuntimeUnavailable("onnxruntime does not compute in bf16 on processors; choose openvino or int8")
    from ait_lite.runtimes.openvino_graph import computes_bf16

    if not computes_bf16():
        raise RuntimeUnavailable("this processor has no bf16 arithmetic")


def open_graph(
    runtime: str,
    path: Path,
    precision: str = "fp32",
    *,
    threads: int = 1,
    streams: int = 1,
    size: tuple[int, int] | None = None,
    most: int | None = None,
) -> Graph:
    """Make a graph ready to run.

    Args:
        runtime: One of `GRAPH_RUNTIMES`.
        path: The ONNX file.
        precision: ``bf16`` computes a float32 graph so; ``int8`` stands for a graph that was quantised.
        threads: A batch is run on; the calling thread waits for them.
        streams: Batches that are run at the same time.
        size: Height and width of images, other than the graph was made for; None takes those.
        most: Images of a batch; None is any number. Some libraries run small batches sooner where none are larger.

    Raises:
        RuntimeUnavailable: As `check_available`; or the library runs graphs at their own size alone.
        Exception: Whatever the library raises for a file that it cannot run.
    """
    check_available(runtime, precision)
    if runtime == "openvino":
        from ait_lite.runtimes.openvino_graph import OpenVinoGraph

        return OpenVinoGraph(path, precision, threads=threads, streams=streams, size=size, most=most)
    if size is not None:
        raise RuntimeUnavailable("onnxruntime runs a graph at the size that it was made for; install openvino")
    from ait_lite.runtimes.onnxruntime_graph import OnnxRuntimeGraph

    return OnnxRuntimeGraph(path, precision, threads=threads)
