"""Progress of a run: a bar on a terminal, a line per minute in a log file."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_SECONDS_BETWEEN_LINES = 60.0


class EpochProgress:
    """Show the progress through one epoch; a context manager.

    Args:
        console: Where to show it.
        epoch: The epoch, counted from 1.
        epochs: Epochs of the run.
        images: Images of the epoch.
        done: Images of it that an earlier process saw.
    """

    def __init__(self, console: Console, epoch: int, epochs: int, images: int, done: int = 0) -> None:
        self._console = console
        self._title = f"epoch {epoch}/{epochs}"
        self._images = images
        self._done_before = done
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task(self._title, total=images, completed=done, status="")

    def __enter__(self) -> "EpochProgress":
        self._started = self._spoke = time.perf_counter()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(self, done: int, loss: float, accuracy: float) -> None:
        """Show how far the epoch is, and its mean loss and accuracy (a share of 1) so far."""
        now = time.perf_counter()
        rate = (done - self._done_before) / max(now - self._started, 1e-9)
        status = f"{rate:.0f} images/s  loss {loss:.4f}  acc {accuracy:.2%}"
        self._bar.update(self._task, completed=done, status=status)
        if not self._console.is_terminal and now - self._spoke > _SECONDS_BETWEEN_LINES:
            self._spoke = now
            left = (self._images - done) / rate
            self._console.print(
                f"{self._title}  {done}/{self._images}  {status}  {left:.0f} s left",
                highlight=False,
                soft_wrap=True,
            )
