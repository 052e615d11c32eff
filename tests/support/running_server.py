"""A server process for tests that need a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from tests.support.waiting import CEILING

# What a busy machine is given, where the defaults are for users who wait.
PATIENT = {"AIT_DEADLINE_SECONDS": f"{CEILING:g}", "AIT_SHUTDOWN_SECONDS": f"{CEILING:g}"}


@contextmanager
def running_server(*arguments: str, stderr: IO[str] | None = None, **environment: str) -> Iterator[tuple[str, int]]:
    """Start `python -m service` on a free port of the loopback interface; yield its address and process id.

    The process is ended on leaving.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "--port", "0", *arguments],
        env=os.environ | PATIENT | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", line)
        assert found, f"the server said {line!r}"
        yield found[0], process.pid
    finally:
        process.terminate()
        try:
            process.wait(CEILING)
        finally:
            process.kill()
            process.wait()
            process.stdout and process.stdout.close()
