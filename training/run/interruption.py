"""Ctrl-C and SIGTERM as a request, answered between two steps; at once where there is nothing to save yet."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

import torch
from accelerate import Accelerator

from training.errors import TrainingInterrupted


class Interruption:
    """Note SIGINT and SIGTERM within the context instead of letting them end the process.

    A second Ctrl-C raises KeyboardInterrupt at once. Outside the main thread, where Python allows no signal
    handlers, it does nothing.

    Attributes:
        signal_number: The signal that arrived, or None.
    """

    def __init__(self) -> None:
        self.signal_number: int | None = None
        self._previous: dict[int, Any] = {}
        self._at_once: str | None = None

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous.clear()

    @contextmanager
    def at_once(self, message: str) -> Iterator[None]:
        """Let a signal raise within the context, wherever the main thread is, instead of being noted.

        For the time in which nothing needs saving and much may have to be waited for.

        Args:
            message: Of the exception.

        Raises:
            TrainingInterrupted: A signal arrived.
        """
        if self.signal_number is not None:
            raise TrainingInterrupted(self.signal_number, message)
        self._at_once = message
        try:
            yield
        finally:
            self._at_once = None

    def agreed(self, accelerator: Accelerator) -> int | None:
        """Return the signal that some process of the run got, or None; all processes call this together."""
        if accelerator.num_processes == 1:
            return self.signal_number
        mine = torch.tensor([self.signal_number or 0], device=accelerator.device)
        return int(accelerator.gather(mine).max()) or None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal_number is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal_number = number
        if self._at_once is not None:
            raise TrainingInterrupted(number, self._at_once)
