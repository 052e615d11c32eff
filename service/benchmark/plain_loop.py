"""The same work without a server: check, decode, resize and forward in one process, as fast as a plain loop can.

It is what the service is measured against, so it uses the service's own steps, and the batch size and the way of
decoding that are fastest for it.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

from service.repository.folders import ModelFolder

BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
ENOUGH = 0.98  # a smaller batch is better where it is as fast, but for this: it has less latency

_CALIBRATION_ROUNDS = 3
_WORTH = 0.85  # what is slower than this share of the fastest is not tried again


@dataclass(frozen=True)
class Way:
    """How the plain loop works.

    Attributes:
        batch_size: pictures in a forward pass.
        pooled: whether a batch's pictures are decoded on as many threads as there are processors, or by the
            thread that also runs the model.
        streams: loops side by side, which share the processors.
    """

    batch_size: int
    pooled: bool = False
    streams: int = 1

    def batch_seconds(self, rate: float) -> float:
        """How long a batch takes at a rate in pictures a second."""
        return self.batch_size * self.streams / rate


class Rate(NamedTuple):
    """Pictures a second, and seconds of processor time that each took."""

    pictures: float
    cpu: float


class RawError(Exception):
    """The plain loop could not run; the message says why."""


class Raw:
    """A process that loads the model and runs the plain loop when asked; between that it sleeps."""

    def __init__(self, folder: ModelFolder, pictures: Sequence[bytes], device: str) -> None:
        """
        Args:
            folder: the model.
            pictures: files that can be decoded.
            device: as the setting of the service.

        Raises:
            RawError: the model cannot be loaded.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, folder, list(pictures), device), daemon=True)
        self._process.start()
        theirs.close()
        self._ask("ready")

    def labels(self) -> list[tuple[str, float]]:
        """The best label of each picture, and its score."""
        return self._ask("labels")

    def best_way(self, seconds: float) -> Way:
        """The smallest batch size that is as fast as any, and whether decoding on several threads or several
        loops pay.

        Args:
            seconds: that each way is tried for, in each of some rounds.
        """
        kinds = {(False, 1), (True, 1), (False, self._ask("streams"))}
        rates: dict[Way, list[float]] = {Way(size, *kind): [] for size in BATCH_SIZES for kind in sorted(kinds)}
        for _ in range(_CALIBRATION_ROUNDS):  # in turns, because the machine's speed wanders
            for way, found in rates.items():
                found.append(self.rate(way, seconds).pictures)
            speeds = {way: median(found) for way, found in rates.items()}
            rates = {way: found for way, found in rates.items() if speeds[way] > _WORTH * max(speeds.values())}
        enough = ENOUGH * max(speeds[way] for way in rates)
        return min((way for way in rates if speeds[way] >= enough), key=lambda way: (way.batch_size, -speeds[way]))

    def rate(self, way: Way, seconds: float) -> Rate:
        """How fast it is for so many seconds."""
        return self._ask("rate", way, seconds)

    def single(self, seconds: float) -> float:
        """Seconds that one picture takes alone, the median."""
        return self._ask("single", seconds)

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(5)
        self._process.kill()

    def _ask(self, *question: Any) -> Any:
        try:
            self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise RawError("The process that runs the model without a server has ended; see above.") from None
        if isinstance(answer, Exception):
            raise RawError(str(answer))
        return answer


def _work(pipe: Connection, folder: ModelFolder, pictures: list[bytes], device: str) -> None:
    from ait.allocator import keep_freed_memory
    from service.model_process.classifier import use_threads

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one who asks; the pipe's end ends this one
    use_threads(0)
    keep_freed_memory()  # as the service does
    try:
        loop = _Loop(folder, pictures, device)
    except Exception as error:
        pipe.recv()
        pipe.send(RawError(str(error)))
        return
    answers: dict[str, Callable[..., Any]] = {
        "ready": lambda: None,
        "streams": lambda: loop.streams,
        "labels": loop.labels,
        "rate": loop.rate,
        "single": loop.single,
    }
    while True:
        try:
            name, *arguments = pipe.recv()
        except EOFError:
            return
        pipe.send(answers[name](*arguments))


class _Loop:
    """The plain loop itself."""

    def __init__(self, folder: ModelFolder, pictures: list[bytes], device: str) -> None:
        from ait_lite.decode import ImageLimits
        from service.machine import available_processors
        from service.model_process.classifier import Classifier
        from service.model_process.streams import streams_on

        self._classifier = Classifier(folder, device=device, max_batch=max(BATCH_SIZES))
        self._limits = ImageLimits()
        self._pictures = pictures
        self._next = 0
        self._threads = available_processors()
        self._pool = ThreadPoolExecutor(self._threads)
        self.streams = streams_on(self._classifier.device.type, self._threads)
        self._scores(Way(max(BATCH_SIZES), True))

    def labels(self) -> list[tuple[str, float]]:
        return [
            self._classifier.label(self._classifier.scores([self._prepare(picture)]), 1)[0][0]
            for picture in self._pictures
        ]

    def rate(self, way: Way, seconds: float) -> Rate:
        cpu = time.process_time()
        if way.streams == 1:
            count, rate = self._repeat(way, seconds)
        else:
            with ThreadPoolExecutor(way.streams) as streams:
                ends = list(streams.map(lambda _: self._repeat(way, seconds), range(way.streams)))
            count, rate = sum(count for count, _ in ends), sum(rate for _, rate in ends)
        return Rate(rate, (time.process_time() - cpu) / count)

    def _repeat(self, way: Way, seconds: float) -> tuple[int, float]:
        """Pictures, and pictures a second, of one stream."""
        import torch

        torch.set_num_threads(max(self._threads // way.streams, 1))  # of this thread's operations
        self._scores(way)
        start, count = time.perf_counter(), 0
        while not count or time.perf_counter() - start < seconds:
            self._scores(way)
            count += way.batch_size
        return count + way.batch_size, count / (time.perf_counter() - start)

    def single(self, seconds: float) -> float:
        way = Way(1, False)
        times: list[float] = []
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end or not times:
            self._scores(way)
            times.append(time.perf_counter() - start)
        return median(times)

    def _scores(self, way: Way) -> list[Any]:
        chosen = [self._pictures[(self._next + offset) % len(self._pictures)] for offset in range(way.batch_size)]
        self._next += way.batch_size
        inputs = list(self._pool.map(self._prepare, chosen) if way.pooled else map(self._prepare, chosen))
        scores = self._classifier.scores(inputs)
        return self._classifier.label(scores, 5)

    def _prepare(self, picture: bytes) -> Any:
        from ait_lite.decode import decode

        return self._classifier.prepare(decode(picture, self._limits))
