"""Errors that end a run, each with a message meant for the person who started it."""

import signal

from ait_lite.checkpoint import CheckpointError

__all__ = [
    "CheckpointError",
    "DataError",
    "NonFiniteLossError",
    "OutputError",
    "RecipeError",
    "TrainingInterrupted",
]


class RecipeError(ValueError):
    """A recipe cannot be used: an unknown key, a value of the wrong type, a missing file."""


class DataError(ValueError):
    """A data folder cannot be used: no classes, no images, unreadable images."""


class OutputError(ValueError):
    """An output folder must not or cannot be written to."""


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite."""


class TrainingInterrupted(Exception):
    """A signal ended the run after the step in progress.

    Attributes:
        signal_number: The signal that arrived.
        exit_code: What a shell expects of a process that it ended (128 + signal).
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    @property
    def signal_name(self) -> str:
        """The signal's name, such as ``SIGTERM``."""
        return signal.Signals(self.signal_number).name
