"""Why the service does not answer a request or does not start: the core's own errors, which know nothing of HTTP.

`service.http.problems` maps them to status codes. Their arguments are plain values, so that one process of a server
can pass an error on to another by its kind (`describe`, `rebuild`); the exception is `ImageRejected`, which is never
asked for there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:  # `ait key` shall not wait for what decodes images
    from ait_lite.images.content import Content
    from ait_lite.images.errors import ImageError


class SettingsError(ValueError):
    """A setting has a value that cannot be used; the message names the setting and what it accepts."""


class ServiceError(Exception):
    """A request that is not answered; the message says why and what helps.

    Attributes:
        reason: The reason in a word, for counters: see `service.observability.events.Observer.rejected`.
    """

    reason: ClassVar[str] = "failed"


class ModelNotFound(ServiceError):
    """There is no model of this name."""


class VersionNotFound(ModelNotFound):
    """The model has no such version."""


class ServiceUnavailable(ServiceError):
    """No answer yet, or no longer; trying again soon may help."""

    reason = "unavailable"


class ModelUnavailable(ServiceUnavailable):
    """The model is loading, restarting or unloaded, or could not be loaded."""


class ServerStopping(ServiceUnavailable):
    """The server finishes what it has begun and takes nothing new."""

    def __str__(self) -> str:
        return "The server is stopping."


class ModelFailed(ServiceError):
    """The model gave no usable answer."""


class QueueFull(ServiceError):
    """There is no room for the request now.

    Attributes:
        retry_after: Seconds after which there should be room.
    """

    reason = "queue-full"

    def __init__(self, retry_after: float) -> None:
        """Estimate that there is room again in `retry_after` seconds."""
        super().__init__(retry_after)
        self.retry_after = retry_after

    @property
    def whole_seconds(self) -> int:
        """`retry_after`, rounded up, at least 1."""
        return max(1, math.ceil(self.retry_after))

    def __str__(self) -> str:
        return f"More is waiting than the server takes. Try again in {self.whole_seconds} s, or send less at a time."


class RequestTooLarge(ServiceError):
    """The request has more items than a queue ever takes: trying again does not help."""

    reason = "too-large"

    def __init__(self, items: int, limit: int) -> None:
        """Compare the items of the request with the most that the queue takes."""
        super().__init__(items, limit)
        self.items, self.limit = items, limit

    def __str__(self) -> str:
        return f"The request has {self.items} items, and the queue takes {self.limit}. Send them in parts."


class SentTooMuch(ServiceError):
    """The files of a request are too many, or too large once unpacked."""

    reason = "too-large"


class DeadlineExceeded(ServiceError):
    """The deadline passed before the answer was there."""

    reason = "deadline"

    def __str__(self) -> str:
        return "The answer was not there in time. Try again, or send fewer images."


class ImageRejected(ServiceError):
    """An image of the request cannot be used.

    Attributes:
        error: What is wrong with it.
        index: Its place in the request, from 0; None where the request has only one.
        content: What was sent in its place; None if it is an image, or that is not known.
    """

    def __init__(
        self,
        error: ImageError,
        detail: str | None = None,
        index: int | None = None,
        content: Content | None = None,
    ) -> None:
        """Name the image in `detail`; None repeats the message of `error`."""
        super().__init__(detail or str(error))
        self.error, self.index, self.content = error, index, content


class MemoryNotFound(ServiceError):
    """There is no memory of this name."""


class ExampleNotFound(MemoryNotFound):
    """The memory has no such example."""


class MemoryInvalid(ServiceError):
    """A name, label, option or file of a memory is not one that can be used."""


class MemoryConflict(ServiceError):
    """The memory is bound to another model, or is there already with other options."""


class RequestUnderWay(ServiceError):
    """The same request, by its idempotency key, is being answered; its answer can be had soon."""


class StaleRevision(ServiceError):
    """The memory has changed since the revision that the client knows, or is there where it was not to be."""


class RevisionNotReached(ServiceUnavailable):
    """The memory does not have the revision yet that the client asks for."""


class MemoryFull(ServiceError):
    """A limit of memories is reached; forgetting makes room."""

    reason = "memory-full"


class StoreUnavailable(ServiceUnavailable):
    """The store of the memories does not answer, or cannot be written."""


class NotErased(StoreUnavailable):
    """A change of a memory is stored, but what it has deleted still stands in a file of the store.

    Attributes:
        done: What the change gives where erasing succeeds.
    """

    def __init__(self, detail: str, done: Any) -> None:
        """Say why it could not be erased."""
        super().__init__(detail)
        self.done = done


_PASSED_ON: dict[str, type[ServiceError]] = {
    kind.__name__: kind
    for kind in (
        ModelNotFound,
        VersionNotFound,
        ServiceUnavailable,
        ModelUnavailable,
        ServerStopping,
        QueueFull,
        RequestTooLarge,
        DeadlineExceeded,
    )
}


def describe(error: ServiceError) -> dict[str, Any]:
    """Describe an error as JSON can say it, for `rebuild` in another process.

    Raises:
        ValueError: Errors of this kind are not passed on.
    """
    kind = type(error).__name__
    if kind not in _PASSED_ON:
        raise ValueError(f"{kind} is not passed on between processes")
    return {"kind": kind, "arguments": list(error.args)}


def rebuild(description: dict[str, Any]) -> ServiceError:
    """Make the error again that another process has described."""
    return _PASSED_ON[description["kind"]](*description["arguments"])
