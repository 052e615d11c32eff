"""The process that forks models: it is replaced when it dies, and when it only seems to live."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest

from service.model_process import messages
from service.model_process.client import ModelProcess
from service.model_process.launcher import Launcher
from service.repository.folders import ModelError
from tests.support.processes.processes import alive
from tests.support.processes.waiting import CEILING, until

HUNG_SECONDS = 0.4


async def fork(launcher: Launcher) -> tuple[socket.socket, int]:
    """A fork, and its process id; where it is never there, because who was to fork it was killed, another one."""
    loop = asyncio.get_running_loop()
    while True:
        ours, theirs = socket.socketpair()
        with theirs:
            launcher.fork(theirs)
        if message := await loop.run_in_executor(None, messages.receive, ours):
            return ours, int(message.header["pid"])
        ours.close()


def test_one_that_is_stopped_is_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        launcher = Launcher(torch=False, hung_seconds=HUNG_SECONDS)
        try:
            connections, models = zip(*[await fork(launcher), await fork(launcher)], strict=True)
            exit_codes = [launcher.exit_code(model) for model in models]
            stopped = launcher.pid
            assert stopped
            for pid in (stopped, *models):  # the models too, so that they do not end by themselves
                os.kill(pid, signal.SIGSTOP)
            launcher.kill(models[0])  # nobody does it
            await until(lambda: launcher.pid != stopped, "the stopped process to be given up")
            assert not alive(stopped)
            assert all(each.cancelled() for each in exit_codes)  # nobody is left who would know them
            assert "does not answer and is killed" in caplog.text
            await until(lambda: not alive(models[0]), "the one that was to be killed to be gone")
            assert alive(models[1])
            other, _ = await fork(launcher)
            assert launcher.pid not in (None, stopped)
            launcher.kill(models[1])
            await until(lambda: not alive(models[1]), "the other one to be gone")
            for each in (*connections, other):
                each.close()
        finally:
            launcher.close()

    asyncio.run(asyncio.wait_for(test(), CEILING))


def test_a_model_that_was_to_be_forked_is_forked_by_the_next_one(tmp_path: Path) -> None:
    spec: dict[str, Any] = {"name": "none", "version": "1", "path": str(tmp_path), "config": {}}
    spec |= {
        "runtime": "auto",
        "precision": "fp32",
        "runtime_file": "",
        "cache": None,
        "torch": False,
        "torch_threads": 1,
    }
    spec |= {"only_explains": False, "explain": False, "device": "cpu", "max_batch": 1}

    async def test() -> None:
        launcher = Launcher(torch=False, hung_seconds=1.0)
        try:
            connection, _ = await fork(launcher)
            stopped = launcher.pid
            assert stopped
            os.kill(stopped, signal.SIGSTOP)
            with pytest.raises(ModelError, match="Nothing can run the model"):  # says a process
                await ModelProcess.start(launcher, **spec)
            assert launcher.pid not in (None, stopped)
            connection.close()
        finally:
            launcher.close()

    asyncio.run(asyncio.wait_for(test(), CEILING))


def test_one_that_is_stopped_before_it_has_started_is_replaced() -> None:
    async def test() -> None:
        launcher = Launcher(torch=False, start_seconds=0.2, hung_seconds=HUNG_SECONDS)
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                launcher.fork(theirs)
            first = launcher.pid
            assert first
            os.kill(first, signal.SIGSTOP)
            await until(lambda: launcher.pid != first, "the stopped process to be given up")
            assert ours.recv(1) == b""  # whoever waits for the fork hears of it
        finally:
            ours.close()
            launcher.close()

    asyncio.run(asyncio.wait_for(test(), CEILING))
