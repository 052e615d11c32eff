"""Where a process of the suite ends in the middle of a test, it is said how, with the stacks of its threads."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BODY = """
import ctypes, os, signal

def test_that_ends_its_process():
    {end}
"""


@pytest.mark.parametrize(
    ("end", "status", "stack"),
    [("ctypes.string_at(0)", -11, "in test_that_ends_its_process"), ("os.kill(os.getpid(), signal.SIGKILL)", -9, "")],
)
def test_it_is_said_how_a_process_of_the_suite_ended(end: str, status: int, stack: str, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(BODY.format(end=end))
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-n", "1", "--max-worker-restart", "0"]
    found = subprocess.run(
        [*command, f"--rootdir={tmp_path}", str(tmp_path / "test_it.py")], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 1
    assert f"test_it.py::test_that_ends_its_process with status {status}" in found.stderr
    assert stack in found.stderr
    assert "MemAvailable" in found.stderr
