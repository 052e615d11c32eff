"""Decode images off the event loop, a bounded number at a time and a bounded number waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ait_lite.images.content import recognise
from ait_lite.images.decode import decode_pixels
from ait_lite.images.errors import ImageError, UnsupportedFormat
from ait_lite.images.limits import ImageLimits
from ait_lite.images.pixels import Pixels
from service.errors import DeadlineExceeded, ImageRejected, QueueFull
from service.images.memory import PixelBudget
from service.images.upload import Upload

Prepare = Callable[[Pixels], np.ndarray]

# A thumbnail for a model of thumbnails takes less time than handing it to a thread and back.
SMALL = ImageLimits(pixels=64 * 64, aspect=4.0)
SMALL_BYTES = 8192


@dataclass(frozen=True)
class Prepared:
    """Images of a request, decoded and cropped for a model: uint8 arrays; times in seconds."""

    inputs: list[np.ndarray]
    queue: float
    decode: float


class _Decoded(NamedTuple):
    """The result of decoding a file, and when work on it began and ended."""

    item: np.ndarray | ImageError | QueueFull
    start: float
    end: float


class Decoders:
    """A pool of threads that decode."""

    def __init__(self, threads: int, limits: ImageLimits, max_waiting: int, budget: PixelBudget) -> None:
        """Start threads.

        Args:
            threads: How many.
            limits: Of each image.
            max_waiting: Most images that are being decoded or wait for it.
            budget: Memory for those that are being decoded.
        """
        self._budget = budget
        self._pool = ThreadPoolExecutor(threads, "decode")
        self._limits, self._max_waiting = limits, max_waiting
        self._waiting = 0
        self._seconds = 0.01  # an image, on average

    @property
    def depth(self) -> int:
        """Images that are being decoded or wait for it."""
        return self._waiting

    async def prepare(
        self, uploads: Sequence[Upload], prepare: Prepare, *, small: bool = False, deadline: float | None = None
    ) -> Prepared:
        """Decode the files of a request and prepare them for a model. Cancelling drops what has not been started.

        Args:
            uploads: The files.
            prepare: Makes an input of the model of a decoded image.
            small: Whether that takes next to no time for a small image.
            deadline: `loop.time()` after which nobody waits for the answer.

        Raises:
            ImageRejected: The first file that cannot be used, by its place in the request.
            QueueFull: Too many images wait, or too many large ones are being decoded.
            DeadlineExceeded: The deadline has passed.
        """
        if small and len(uploads) == 1 and len(uploads[0].data) <= SMALL_BYTES:
            decoded = [_decode(uploads[0], prepare, SMALL)]
            if isinstance(decoded[0].item, np.ndarray):  # else the limits to hold it against are others
                return _collect(decoded, uploads, decoded[0].start)
        if self._waiting + len(uploads) > self._max_waiting:
            raise QueueFull(self._waiting * self._seconds)
        self._waiting += len(uploads)
        asked = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                decoded = await asyncio.gather(*(self._run(each, prepare) for each in uploads))
                for index, each in enumerate(decoded):
                    if isinstance(each.item, QueueFull) and len(uploads) > 1:  # what it had no room beside is done
                        decoded[index] = await self._run(uploads[index], prepare)
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            self._waiting -= len(uploads)
        for each in decoded:
            self._seconds += 0.02 * (each.end - each.start - self._seconds)
        return _collect(decoded, uploads, asked)

    def _run(self, upload: Upload, prepare: Prepare) -> asyncio.Future[_Decoded]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._pool, _decode, upload, prepare, self._limits, self._budget)

    def close(self) -> None:
        """Drop what has not been started and let the threads end."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _decode(upload: Upload, prepare: Prepare, limits: ImageLimits, budget: PixelBudget | None = None) -> _Decoded:
    """Decode a file; without a budget, its pixels are too few to count."""
    start = time.perf_counter()
    item: np.ndarray | ImageError | QueueFull
    try:
        # Cropping belongs here: what stays in memory while a request waits is small.
        data = bytes(upload.data)
        if budget is None:
            item = prepare(decode_pixels(data, limits))
        else:
            with ExitStack() as room:
                item = prepare(
                    decode_pixels(data, limits, admit=lambda pixels: room.enter_context(budget.room(pixels)))
                )
    except (ImageError, QueueFull) as error:
        item = error
    return _Decoded(item, start, time.perf_counter())


def _collect(decoded: Sequence[_Decoded], uploads: Sequence[Upload], asked: float) -> Prepared:
    inputs = []
    for index, (item, _, _) in enumerate(decoded):
        if isinstance(item, QueueFull):
            raise item
        if isinstance(item, ImageError):
            raise _rejected(item, index, uploads)
        inputs.append(item)
    start, end = min(each.start for each in decoded), max(each.end for each in decoded)
    return Prepared(inputs, queue=start - asked, decode=end - start)


def _rejected(error: ImageError, index: int, uploads: Sequence[Upload]) -> ImageRejected:
    content = recognise(uploads[index].data) if isinstance(error, UnsupportedFormat) else None
    if len(uploads) == 1:
        return ImageRejected(error, content=content)
    filename = uploads[index].filename
    which = f"File {index + 1}" + (f" ({filename[:100]})" if filename else "")
    return ImageRejected(error, f"{which}: {error}", index, content)
