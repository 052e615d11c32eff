"""How long an experiment may go on before it stops, to be continued, and which of its trials it runs."""

import time
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from typing import Protocol, TypeVar

from training.errors import DataError


class OutOfTime(Exception):
    """The seconds of a command are used up; what was done is on disk."""


class NotChosen(Exception):
    """A trial is not to be run, and no earlier command has."""


class Named(Protocol):
    """A trial; its name is that of its files."""

    @property
    def name(self) -> str:
        """Name of the trial."""


_Trial = TypeVar("_Trial", bound=Named)
_Result = TypeVar("_Result")


def trial_name(*words: str) -> str:
    """Write what a trial's files are called by: letters and digits in lower case, with hyphens for all else."""
    letters = "".join(letter if letter.isalnum() else " " for letter in " ".join(words).lower())
    return "-".join(letters.split())


class Budget:
    """Count down the seconds of a command, and choose its trials.

    Args:
        seconds: How many there are; None: no end.
        only: Pattern of the names of trials to run, as a shell's, such as ``ait-*-seed-0``. Of the others, those that
            an earlier command ran are read. So several commands can share the trials of an experiment.
    """

    def __init__(self, seconds: float | None = None, only: str = "*") -> None:
        self._end = None if seconds is None else time.monotonic() + seconds
        self._only = only

    def includes(self, name: str) -> bool:
        """Return True if a trial is to be run."""
        return fnmatchcase(name, self._only)

    def check(self) -> None:
        """Return while there is time.

        Raises:
            OutOfTime: There is none left.
        """
        if self._end is not None and time.monotonic() >= self._end:
            raise OutOfTime("the time of this command is used up; run it again to go on")


def run_chosen(trials: Sequence[_Trial], run: Callable[[_Trial], _Result]) -> list[tuple[_Trial, _Result]]:
    """Run trials and pair them with their results, leaving out those that raise `NotChosen`.

    Args:
        trials: All of an experiment.
        run: Runs one, or reads its result.

    Raises:
        DataError: None is left.
    """
    found = []
    for trial in trials:
        try:
            found.append((trial, run(trial)))
        except NotChosen:
            continue
    if not found:
        raise DataError(f"no trial has the name asked for; there are: {', '.join(trial.name for trial in trials)}")
    return found
