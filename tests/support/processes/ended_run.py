"""Run the trainer in a process that sends itself a signal at a chosen moment of its work.

    python -m tests.support.processes.ended_run SIGNAL EVENT NUMBER FOLDER RECIPE [ARGUMENT ...]

The signal comes at the NUMBERth EVENT, which is ``step`` (a step of training is done) or ``rename`` (a file or folder
in FOLDER is about to be renamed). The moment depends on what the process has done, never on the clock.
"""

import os
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from training.step.training_step import TrainingStep
from training.step.update import UpdateResult


def main() -> None:
    """Arrange for the signal, then run the trainer."""
    name, event, number, folder, *arguments = sys.argv[1:]
    happened = _counted(int(number), signal.Signals[name])
    if event == "step":
        _after_steps(happened)
    elif event == "rename":
        _before_renames(Path(folder), happened)
    else:
        raise SystemExit(f"unknown event {event!r}")
    sys.argv[1:] = arguments
    runpy.run_module("training", run_name="__main__", alter_sys=True)


def _counted(number: int, which: signal.Signals) -> Callable[[], None]:
    process, seen = os.getpid(), 0

    def happened() -> None:
        nonlocal seen
        if os.getpid() != process:  # a worker that loads images
            return
        seen += 1
        if seen == number:
            os.kill(process, which)

    return happened


def _after_steps(happened: Callable[[], None]) -> None:
    original = TrainingStep.__call__

    def call(self: TrainingStep, *arguments: Any) -> UpdateResult:
        result = original(self, *arguments)
        happened()
        return result

    TrainingStep.__call__ = call  # type: ignore[assignment, method-assign]


def _before_renames(folder: Path, happened: Callable[[], None]) -> None:
    inside = f"{folder}{os.sep}"

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and os.fspath(arguments[1]).startswith(inside):
            happened()

    sys.addaudithook(audit)


if __name__ == "__main__":
    main()
