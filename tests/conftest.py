"""What all tests have in common: repeatable property tests, and an honest word where Chromium is missing."""

from __future__ import annotations

import atexit
import faulthandler
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.page.chromium import REMEDY, may_leave_out

# What a person keeps in their cache, such as a prepared model, decides on no test, and tests leave nothing there.
CACHE = tempfile.mkdtemp(prefix="ait-tests-")
atexit.register(shutil.rmtree, CACHE, ignore_errors=True)
os.environ["XDG_CACHE_HOME"] = CACHE
# Several processes of the suite and what they start share the processors. A test that is about threads asks for them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
tempfile.tempdir = None  # what was found now is not to hold for tests that set TMPDIR

# Neither the speed of the machine nor what was drawn in an earlier run decides on a test.
settings.register_profile(
    "repeatable", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("repeatable")

LEFT_OUT = pytest.StashKey[int]()
_END_SECONDS = 10.0  # that a process whose connection is closed may take to end


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the tests that need Chromium where there is none."""
    out = [item for item in items if item.get_closest_marker("browser")] if may_leave_out() else []
    if out:
        config.stash[LEFT_OUT] = len(out)
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in set(out)]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints the summary, where tests run in several, what this one has left out."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["left_out"] = session.config.stash.get(LEFT_OUT, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Note what a process has left out."""
    count = getattr(node, "workeroutput", {}).get("left_out", 0)
    node.config.stash[LEFT_OUT] = max(count, node.config.stash.get(LEFT_OUT, 0))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a process of the suite where to leave the stacks of its threads if it ends by a signal of its own."""
    node.workerinput["stacks"] = str(Path(CACHE) / f"stacks-{node.gateway.id}.txt")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Leave the stacks where the process that prints can read them; after pytest has chosen its standard error."""
    if path := getattr(config, "workerinput", {}).get("stacks"):
        faulthandler.enable(os.open(path, os.O_CREAT | os.O_WRONLY))  # for as long as the process lasts


@pytest.hookimpl(optionalhook=True)
def pytest_handlecrashitem(crashitem: str, report: pytest.TestReport) -> None:
    """Say at once in which test a process of the suite ended, and how: the summary may never come."""
    node = getattr(report, "node", None)
    popen = getattr(getattr(getattr(node, "gateway", None), "_io", None), "popen", None)
    status = None
    if popen is not None:
        with suppress(subprocess.TimeoutExpired):  # its connection is closed, and it lives on
            status = popen.wait(_END_SECONDS)
    stacks = Path(node.workerinput["stacks"]).read_text() if node is not None else ""
    available = [line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemAvailable")]
    words = f"a process of the suite ended in {crashitem} with status {status}; {' '.join(available)}"
    print(f"\n{words}\n{stacks}", file=sys.stderr, flush=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was left out."""
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.section("NOT RUN: the page in a browser", yellow=True)
        terminalreporter.line(
            f"{count} tests of the page need Chromium, and none was found. {REMEDY} Then run make test-page."
        )
