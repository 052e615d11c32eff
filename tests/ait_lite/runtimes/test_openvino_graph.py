"""What OpenVINO does to the process in which it runs."""

from __future__ import annotations

import subprocess
import sys

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


@pytest.fixture(scope="module")
def graphs() -> tuple[OpenVinoGraph, OpenVinoGraph]:
    """One for batches, and one for single images."""
    path = next(path for name, path in bundled_models().items() if name.startswith("ait_")) / GRAPH
    return OpenVinoGraph(path), OpenVinoGraph(path, lone=True)


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
    path = next(path for name, path in bundled_models().items() if name.startswith("ait_")) / GRAPH
    pixels = np.random.default_rng(0).standard_normal((1, 3, 32, 32), dtype=np.float32)
    first, second = (open_graph(runtime, path, lone=True)(pixels).logits for runtime in ("openvino", "onnxruntime"))
    np.testing.assert_allclose(first, second, atol=1e-3)
