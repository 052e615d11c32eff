"""Signals to processes that asyncio waits for."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from service.processes.child_process import signal_child
from tests.support.processes.waiting import wait_for


def test_a_signal_leaves_the_exit_code_of_one_that_has_ended_to_who_waits_for_it() -> None:
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 7"], {})
    status = Path(f"/proc/{pid}/stat")
    wait_for(lambda: status.read_text().rpartition(")")[2].split()[0] == "Z", "it to end")
    process = cast("asyncio.subprocess.Process", SimpleNamespace(pid=pid, returncode=None))
    signal_child(process, signal.SIGTERM)
    signal_child(process, signal.SIGCONT)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    signal_child(process, signal.SIGTERM)  # nobody is there any more


def test_those_that_run_are_ended() -> None:
    async def ended() -> int:
        process = await asyncio.create_subprocess_exec("/bin/sleep", "600")
        signal_child(process, signal.SIGKILL)
        code = await process.wait()
        signal_child(process, signal.SIGKILL)
        return code

    assert asyncio.run(ended()) == -signal.SIGKILL
