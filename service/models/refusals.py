"""What a queue of a model says when it does not answer, as problems for those who asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from service.batching.batcher import Closed, DeadlineExceeded, QueueFull, RequestTooLarge
from service.http.problems import Problem, queue_full, too_late, unavailable
from service.model_process.client import ProcessEnded


@contextmanager
def refusals(tell: Callable[[str], None]) -> Iterator[None]:
    """Turns exceptions of `Batcher` and `ModelProcess` into problems; tells the reason of any, in a word.

    Raises:
        Problem: 413 for more than the queue ever takes, 429 when it is full, 503 when the model's process ended or
            the model has been unloaded, 504 past the deadline.
    """
    reason = ""
    try:
        yield
    except QueueFull as error:
        reason = "queue-full"
        raise queue_full(error.retry_after) from None
    except RequestTooLarge as error:
        reason = "too-large"
        raise Problem(413, "too-many-inputs", str(error), title="The request is too large") from None
    except DeadlineExceeded:
        reason = "deadline"
        raise too_late() from None
    except Closed:
        reason = "unavailable"
        raise unavailable("The model has been unloaded.") from None
    except ProcessEnded as error:
        reason = "unavailable"
        raise unavailable(f"The model's process {error}. Try again.") from None
    except asyncio.CancelledError:
        reason = "cancelled"
        raise
    except Exception:
        reason = "failed"
        raise
    finally:
        if reason:
            tell(reason)
