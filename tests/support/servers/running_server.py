"""A server process for tests that need a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Final

from tests.support.processes.waiting import CEILING

SERVE: Final = (sys.executable, "-m", "service")

# What a busy machine is given, where the defaults are for users who wait.
PATIENT = {name: f"{CEILING:g}" for name in ("AIT_DEADLINE_SECONDS", "AIT_SHUTDOWN_SECONDS", "AIT_HUNG_SECONDS")}


@contextmanager
def running_server(
    *arguments: str, command: Sequence[str] = SERVE, stderr: IO[str] | None = None, **environment: str
) -> Iterator[tuple[str, int]]:
    """Start a server on a free port of the loopback interface; yield its address and process id when it is ready.

    The process is ended on leaving.

    Args:
        *arguments: Further options of the server.
        command: What starts it.
        stderr: Where its errors go; None leaves them to the test's own.
        **environment: Variables to set for it.
    """
    process = subprocess.Popen(
        [*command, "--port", "0", *arguments],
        env=os.environ | PATIENT | environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        found = re.search(r"https?://127\.0\.0\.1:\d+", line)
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
