"""Events of the service's core, for metrics, logs and traces, of which the core itself knows nothing."""

from __future__ import annotations

from collections.abc import Sequence


class Observer:
    """Receives events on the event loop; a subclass overrides what it needs. No method may block or raise."""

    def batch(
        self, model: str, version: str, operation: str, size: int, waits: Sequence[float], seconds: float
    ) -> None:
        """Note that a batch has been answered.

        Args:
            model: name of the model.
            version: of the model.
            operation: "logits", "features" or "explain"; or "recall", of a memory of the model's features.
            size: images in the batch.
            waits: seconds that each image waited in the queue.
            seconds: from handing the batch to the model's process to its answer.
        """

    def decoded(self, images: int, queue: float, seconds: float) -> None:
        """Note that the images of a request have been decoded; called in the task of the request.

        Args:
            images: how many.
            queue: seconds of waiting for a thread.
            seconds: from the first image to the last.
        """

    def inferred(self, model: str, version: str, operation: str, inputs: int, queue: float, infer: float) -> None:
        """Note that a model has answered the inputs of a request; called in the task of the request.

        Args:
            model: name of the model.
            version: of the model.
            operation: as in `batch`; "recall" is the part of a memory in an answer that its model began.
            inputs: how many.
            queue: seconds of waiting for the model.
            infer: seconds in the model.
        """

    def rejected(self, model: str, version: str, reason: str) -> None:
        """Note that a request was turned away or given up.

        Args:
            model: name of the model; empty where none has been chosen yet.
            version: of the model; empty likewise.
            reason: "queue-full", "too-large", "deadline", "cancelled", "unavailable" or "failed"; before a model has
                been chosen "key-missing", "key-wrong" or "rate-exceeded".
        """

    def loaded(self, model: str, version: str, seconds: float, error: str | None) -> None:
        """Note that loading a version has ended; `error` is None when the version answers."""

    def ended(self, model: str, version: str, expected: bool) -> None:
        """Note that the process of a version has ended: unloaded if `expected`, else it died."""


class Observers(Observer):
    """Passes events on to several observers."""

    def __init__(self, *observers: Observer) -> None:
        """Pass events on to `observers`, in this order."""
        self._observers = observers

    def batch(
        self, model: str, version: str, operation: str, size: int, waits: Sequence[float], seconds: float
    ) -> None:
        for each in self._observers:
            each.batch(model, version, operation, size, waits, seconds)

    def decoded(self, images: int, queue: float, seconds: float) -> None:
        for each in self._observers:
            each.decoded(images, queue, seconds)

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
