"""Run the scripts of `examples/` as a user does."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def run_example(*command: object) -> str:
    """Run a command in the root of the repository, and return what it printed.

    Args:
        command: Program and arguments. A first argument that ends in ``.py`` is run by this Python.

    Raises:
        AssertionError: The command failed; the message holds its standard error.
    """
    words = [str(word) for word in command]
    if words[0].endswith(".py"):
        words = [sys.executable, *words]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    return finished.stdout
