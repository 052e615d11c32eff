"""What OpenVINO does to the process in which it runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ait_lite.checkpoint import bundled_models
from ait_lite.runtimes import open_graph
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


def opened(one: float, eight: float, precision: str = "fp32") -> OpenVinoGraph:
    """Open a graph that finds that one image takes so many seconds, and eight at once."""

    def seconds(_: OpenVinoGraph, run: Any, images: int) -> float:
        return one * images if run.size == 1 else eight

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenVinoGraph, "_seconds", seconds)
        return OpenVinoGraph(bundled_graph(), precision)


@pytest.fixture(scope="module", params=["together", "one by one"])
def graphs(request: pytest.FixtureRequest) -> tuple[OpenVinoGraph, OpenVinoGraph]:
    """One for batches, and one for single images."""
    several = opened(0.001, 0.007 if request.param == "together" else 0.009)
    assert several.piece == (PIECE if request.param == "together" else 1)
    return several, OpenVinoGraph(bundled_graph(), lone=True)


def test_images_run_together_only_where_that_is_faster_and_changes_nothing() -> None:
    assert opened(0.001, 0.007).piece == PIECE
    assert opened(0.001, 0.007, "int8").piece == 1  # ranges would be those of all images together
    assert opened(0.5, 1.0).piece == 1  # an image that takes long waits for no other
    assert OpenVinoGraph(bundled_graph(), lone=True).piece == 1


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
        open_graph(runtime, bundled_graph(), lone=True)(pixels).logits for runtime in ("openvino", "onnxruntime")
    )
    np.testing.assert_allclose(first, second, atol=1e-3)
