"""Python programs that this one starts, which find the same modules and are given sockets."""

from __future__ import annotations

import asyncio
import json
import os
import pkgutil
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import NoReturn

# The path is that of the parent: a program that is run from its source tree finds itself.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from service.processes.child_process import run; run(*sys.argv[2:])"
)


def python_command(function: str, sockets: Sequence[socket.socket], *arguments: str) -> list[str]:
    """Write the command line of a Python program that calls a function and exits with what it returns.

    Args:
        function: "module:name"; it is called with the sockets, then with the arguments.
        sockets: The program must inherit their file descriptors (`pass_fds`).
        arguments: Texts.
    """
    descriptors = json.dumps([each.fileno() for each in sockets])
    return [sys.executable, "-c", _BOOT, json.dumps(sys.path), function, descriptors, *arguments]


def signal_child(process: asyncio.subprocess.Process, number: int) -> None:
    """Send a signal to a process that asyncio started, if it has not ended.

    `Process.send_signal` looks first whether it has, and takes its exit code if so: asyncio, which waits for that,
    then finds nothing and reports 255.
    """
    if process.returncode is None:  # while asyncio has not waited for it, no other process has its number
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def run(function: str, descriptors: str, *arguments: str) -> NoReturn:
    """Do in the child what `python_command` says."""
    sockets = [socket.socket(fileno=each) for each in json.loads(descriptors)]
    sys.exit(pkgutil.resolve_name(function)(*sockets, *arguments))
