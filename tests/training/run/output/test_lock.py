"""One run at a time works in an output folder."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.processes.examples import ROOT
from tests.support.processes.training_runs import MakeRecipe
from training.errors import OutputError
from training.run.output.lock import LOCK, RunLock
from training.run.trainer import train

HOLD = "import signal, sys; from pathlib import Path; from training.run.output.lock import RunLock\n" + (
    "with RunLock(Path(sys.argv[1])): print('held', flush=True); signal.pause()"
)

# The holder says the number of its fork, and the fork says 0.
FORK = "import os, signal, sys; from pathlib import Path; from training.run.output.lock import RunLock\n" + (
    "with RunLock(Path(sys.argv[1])): os.write(1, b'%d\\n' % os.fork()); signal.pause()"
)


def test_a_second_run_is_refused_and_told_who_is_at_work(
    make_recipe: MakeRecipe, tmp_path: Path, quiet: Console
) -> None:
    recipe = make_recipe()
    with RunLock(recipe.output):
        for resume in (False, True):
            with pytest.raises(OutputError, match=f"in use by another run \\(process {os.getpid()} on ") as error:
                train(recipe, resume=resume, console=quiet)
            assert socket.gethostname() in str(error.value)
        assert set(json.loads((recipe.output / LOCK).read_text())) == {"pid", "host", "since"}
        assert [path.name for path in recipe.output.iterdir()] == [LOCK]
    assert not recipe.output.exists()


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == b"held\n"
        try:
            with pytest.raises(OutputError, match=f"process {holder.pid} on"), RunLock(tmp_path):
                pass
        finally:
            holder.send_signal(signal.SIGKILL)
    assert (tmp_path / LOCK).exists()
    with RunLock(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_fork_that_outlives_its_run_holds_nothing(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", FORK, str(tmp_path)], stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        forked = max(int(holder.stdout.readline()) for _ in range(2))
        try:
            with pytest.raises(OutputError, match=f"process {holder.pid} on"), RunLock(tmp_path):
                pass
            holder.kill()
            holder.wait()
            with RunLock(tmp_path):
                os.kill(forked, 0)
        finally:
            holder.kill()
            os.kill(forked, signal.SIGKILL)


def test_what_a_run_wrote_stays_when_its_lock_goes(tmp_path: Path) -> None:
    with RunLock(tmp_path / "a" / "run"):
        (tmp_path / "a" / "run" / "metrics.csv").write_text("")
    assert [path.name for path in (tmp_path / "a" / "run").iterdir()] == ["metrics.csv"]
    with pytest.raises(ZeroDivisionError), RunLock(tmp_path / "b" / "run"):
        _ = 1 / 0
    assert not (tmp_path / "b").exists()


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cannot be written to .*output=FOLDER"), RunLock(tmp_path / "file" / "run"):
        pass
