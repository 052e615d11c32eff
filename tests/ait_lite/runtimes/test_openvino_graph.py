"""What OpenVINO does to the process in which it runs."""

from __future__ import annotations

import subprocess
import sys

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
