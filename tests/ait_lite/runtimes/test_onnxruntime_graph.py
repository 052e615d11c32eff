"""What ONNX Runtime is told before it is loaded."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# Prints what the library would read, at the moment when it is first imported.
WATCHED = """
import os, sys

def watch(event, arguments):
    if event == "import" and arguments[0] == "onnxruntime":
        print(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.addaudithook(watch)
"""


@pytest.mark.parametrize(
    ("code", "given", "read"),
    [
        ("import ait_lite.runtimes.onnxruntime_graph", {}, "1"),
        ("import ait.export.quantise, onnxruntime", {}, "1"),
        ("import ait_lite.runtimes.onnxruntime_graph", {"ORT_DISABLE_TELEMETRY": "0"}, "0"),  # who wants to, reports
    ],
)
def test_it_is_told_to_report_nothing(code: str, given: dict[str, str], read: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"} | given
    done = subprocess.run(
        [sys.executable, "-c", f"{WATCHED}\n{code}"], env=environment, capture_output=True, text=True, check=True
    )
    assert set(done.stdout.split()) == {read}
