"""How long an experiment may go on before it stops, to be continued by the same command."""

import time


class OutOfTime(Exception):
    """The seconds of a command are used up; what was done is on disk."""


class Budget:
    """Count down the seconds of a command.

    Args:
        seconds: How many there are; None: no end.
    """

    def __init__(self, seconds: float | None = None) -> None:
        self._end = None if seconds is None else time.monotonic() + seconds

    def check(self) -> None:
        """Return while there is time.

        Raises:
            OutOfTime: There is none left.
        """
        if self._end is not None and time.monotonic() >= self._end:
            raise OutOfTime("the time of this command is used up; run it again to go on")
