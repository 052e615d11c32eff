"""What can go wrong in a run, each with a message meant for the person who started it."""

import signal


class RecipeError(ValueError):
    """A recipe that cannot be used: unknown key, ill-typed value, missing file."""


class DataError(ValueError):
    """A data folder that cannot be used: no classes, no images, unreadable images."""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: missing, torn, altered or of another model."""


class OutputError(ValueError):
    """An output folder that must not be written to."""


class NonFiniteLossError(ArithmeticError):
    """The loss became NaN or infinite."""


class TrainingInterrupted(Exception):
    """A signal ended the run after the step in progress.

    Attributes:
        signal_number: The signal that arrived.
        exit_code: What a shell expects of a process ended by it (128 + signal).
    """

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number

    @property
    def signal_name(self) -> str:
        """The signal's name, such as ``SIGTERM``."""
        return signal.Signals(self.signal_number).name
