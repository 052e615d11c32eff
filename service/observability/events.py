"""What the core of the service tells of its work: a seam for metrics and logs, which it knows nothing of."""

from __future__ import annotations

from collections.abc import Sequence


class Observer:
    """Is told what happens, on the event loop; a subclass keeps what it needs. Nothing here may block or raise."""

    def batch(
        self, model: str, version: str, operation: str, size: int, waits: Sequence[float], seconds: float
    ) -> None:
        """A batch has been answered.

        Args:
            model, version, operation: what ran; the operation is "logits", "features" or "explain".
            size: images in the batch.
            waits: seconds that each image waited in the queue.
            seconds: from handing the batch to the model's process to its answer.
        """

    def decoded(self, pictures: int, queue: float, seconds: float) -> None:
        """The pictures of a request have been decoded: waiting for a thread, and from first to last, in seconds.

        Told in the task of the request.
        """

    def inferred(self, model: str, version: str, operation: str, inputs: int, queue: float, infer: float) -> None:
        """A model has answered the inputs of a request, which waited and then were in the model for so many seconds.

        Told in the task of the request.
        """

    def rejected(self, model: str, version: str, reason: str) -> None:
        """A request was turned away or given up.

        `reason` is one of "queue-full", "too-large", "deadline", "cancelled", "unavailable", "failed"; and, before it
        is known what is asked, so that model and version are empty, "key-missing", "key-wrong", "rate-exceeded".
        """

    def loaded(self, model: str, version: str, seconds: float, error: str | None) -> None:
        """Loading a version has ended; `error` is None when it answers."""

    def ended(self, model: str, version: str, expected: bool) -> None:
        """The process of a version has ended: unloaded if that was expected, else died."""


class Observers(Observer):
    """Tells several."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def batch(
        self, model: str, version: str, operation: str, size: int, waits: Sequence[float], seconds: float
    ) -> None:
        for each in self._observers:
            each.batch(model, version, operation, size, waits, seconds)

    def decoded(self, pictures: int, queue: float, seconds: float) -> None:
        for each in self._observers:
            each.decoded(pictures, queue, seconds)

    def inferred(self, model: str, version: str, operation: str, inputs: int, queue: float, infer: float) -> None:
        for each in self._observers:
            each.inferred(model, version, operation, inputs, queue, infer)

    def rejected(self, model: str, version: str, reason: str) -> None:
        for each in self._observers:
            each.rejected(model, version, reason)

    def loaded(self, model: str, version: str, seconds: float, error: str | None) -> None:
        for each in self._observers:
            each.loaded(model, version, seconds, error)

    def ended(self, model: str, version: str, expected: bool) -> None:
        for each in self._observers:
            each.ended(model, version, expected)
