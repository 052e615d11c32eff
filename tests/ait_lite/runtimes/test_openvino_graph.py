"""What OpenVINO does to the process in which it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnxruntime.quantization import QuantType, quantize_dynamic

from ait_lite.checkpoint import bundled_models
from ait_lite.runtimes import open_graph, openvino_graph
from ait_lite.runtimes.openvino_graph import PIECE, OpenVinoGraph
from ait_lite.runtimes.prepared import GRAPH

# A thread deletes what the main thread has made; then memory is mapped, and a signal comes.
DELETED_ELSEWHERE = """
import gc, mmap, os, signal, sys, threading
from ait_lite.checkpoint import bundled_models
from ait_lite.runtimes.prepared import GRAPH
from ait_lite.runtimes.openvino_graph import OpenVinoGraph

folder = next(path for name, path in bundled_models().items() if name.startswith("ait_"))
held = [OpenVinoGraph(folder / GRAPH)]
thread = threading.Thread(target=lambda: (held.clear(), gc.collect()))
thread.start()
thread.join()
signal.signal(signal.SIGUSR1, lambda *_: None)
blocks = [mmap.mmap(-1, 4096 * pages) for pages in (1, 2, 3, 4, 8) for _ in range(8)]
os.kill(os.getpid(), signal.SIGUSR1)
sys.exit(any(any(block[:]) for block in blocks))
"""


def test_a_graph_that_ends_leaves_no_stack_for_signals_behind() -> None:
    # On processors with AVX-512 the signal would be written into one of the blocks, or end the process.
    ended = subprocess.run([sys.executable, "-c", DELETED_ELSEWHERE], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def bundled_graph() -> Path:
    return next(path for name, path in bundled_models().items() if name.startswith("ait_")) / GRAPH


def opened(one: float, eight: float, precision: str = "fp32", most: int | None = None) -> OpenVinoGraph:
    """Open a graph that finds that one image takes so many seconds, and eight at once."""

    def seconds(run: Any, pixels: np.ndarray) -> float:
        return one * len(pixels) if run.size == 1 else eight

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino_graph, "_seconds", seconds)
        return OpenVinoGraph(bundled_graph(), precision, most=most)


@pytest.fixture(scope="module", params=["together", "one by one"])
def graphs(request: pytest.FixtureRequest) -> tuple[OpenVinoGraph, OpenVinoGraph]:
    """One for batches, and one for single images."""
    several = opened(0.001, 0.007 if request.param == "together" else 0.009)
    assert several.piece == (PIECE if request.param == "together" else 1)
    return several, OpenVinoGraph(bundled_graph(), most=1)


def test_images_run_together_only_where_that_is_faster_and_changes_nothing() -> None:
    assert opened(0.001, 0.007).piece == PIECE
    assert opened(0.001, 0.007, "int8").piece == 1  # ranges would be those of all images together
    assert opened(0.5, 1.0).piece == 1  # an image that takes long waits for no other
    assert opened(0.001, 0.007, most=PIECE - 1).piece == 1  # it would never run


@pytest.mark.parametrize("count", [1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 3])
def test_an_image_is_answered_alike_in_any_batch(graphs: tuple[OpenVinoGraph, OpenVinoGraph], count: int) -> None:
    several, lone = graphs
    pixels = np.random.default_rng(count).standard_normal((count, 3, 32, 32), dtype=np.float32)
    together, alone = several(pixels), [lone(pixels[place : place + 1]) for place in range(count)]
    np.testing.assert_allclose(together.logits, np.concatenate([each.logits for each in alone]), atol=1e-4)
    assert together.features is not None
    np.testing.assert_allclose(together.features, np.concatenate([each.features for each in alone]), atol=1e-4)


def test_results_of_a_batch_outlast_the_next_one(graphs: tuple[OpenVinoGraph, OpenVinoGraph]) -> None:
    for graph, count in ((graphs[0], PIECE), (graphs[0], 1), (graphs[1], 1)):
        first = graph(np.zeros((count, 3, 32, 32), np.float32)).logits
        kept = first.copy()
        graph(np.ones((count, 3, 32, 32), np.float32))
        np.testing.assert_array_equal(first, kept)


def test_an_empty_batch_has_no_rows(graphs: tuple[OpenVinoGraph, OpenVinoGraph]) -> None:
    found = graphs[0](np.zeros((0, 3, 32, 32), np.float32))
    assert found.logits.shape == (0, 10)


def test_graphs_of_single_images_are_for_every_runtime() -> None:
    pixels = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    first, second = (
        open_graph(runtime, bundled_graph(), most=1)(pixels).logits for runtime in ("openvino", "onnxruntime")
    )
    np.testing.assert_allclose(first, second, atol=1e-3)


def written(path: Path, shape: list[int | str], reshaped: list[int]) -> Path:
    """Write a graph that gives the first numbers of each image as its logits."""
    constants = {"shape": reshaped, "start": [0], "end": [10], "axis": [1]}
    nodes = [
        helper.make_node("Reshape", ["pixels", "shape"], ["flat"]),
        helper.make_node("Slice", ["flat", "start", "end", "axis"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [helper.make_tensor(name, TensorProto.INT64, [len(values)], values) for name, values in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.parametrize(
    ("shape", "reshaped"),
    [
        (["batch", 3, "height", "width"], [0, -1]),  # sides that only the images tell
        (["batch", 3, 4, 4], [1, 48]),  # written for single images
    ],
)
def test_graphs_of_other_shapes_run(tmp_path: Path, shape: list[int | str], reshaped: list[int]) -> None:
    graph = OpenVinoGraph(written(tmp_path / "graph.onnx", shape, reshaped))
    pixels = np.random.default_rng(0).standard_normal((PIECE + 1, 3, 4, 4), dtype=np.float32)
    found = graph(pixels)
    np.testing.assert_allclose(found.logits, pixels.reshape(PIECE + 1, -1)[:, :10], rtol=1e-6)
    assert found.features is None


def test_answers_of_quantised_graphs_do_not_depend_on_other_images(tmp_path: Path) -> None:
    source, path = bundled_graph(), tmp_path / "int8.onnx"
    quantize_dynamic(source, path, weight_type=QuantType.QUInt8)
    pixels = np.random.default_rng(0).standard_normal((5, 3, 32, 32), dtype=np.float32)
    pixels *= np.array([0.1, 1, 3, 0.3, 10], np.float32)[:, None, None, None]  # of different ranges
    for runtime in ("openvino", "onnxruntime"):
        graph = open_graph(runtime, path, "int8")
        alone = np.concatenate([graph(pixels[place : place + 1]).logits for place in range(5)])
        np.testing.assert_array_equal(graph(pixels).logits, alone)
