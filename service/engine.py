"""Work off the event loop: loading the model, decoding pictures and classifying them on threads.

Decoding has a bounded pool. All that touches the model runs on one thread, in the order it was asked for.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from service.images import ImageError, ImageLimits, decode
from service.problems import image_problem, unavailable
from service.repository import ModelError, locate
from service.runner import Classifier, Labels, use_threads
from service.settings import Settings
from service.uploads import Upload

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """Labels of each picture, and where the time went, in seconds."""

    predictions: list[Labels]
    queue: float
    decode: float
    infer: float


class Engine:
    """The model of a server process and the threads that use it.

    Attributes:
        failure: why the model could not be loaded; None while it is loading and once it is.
    """

    def __init__(self, settings: Settings, on_loaded: Callable[[Engine], None] | None = None) -> None:
        """`on_loaded` is called on the event loop when loading has ended, well or not."""
        self.settings = settings
        self.failure: ModelError | None = None
        self._classifier: Classifier | None = None
        self._draining = False
        self._on_loaded = on_loaded
        self._limits = ImageLimits(settings.max_pixels, settings.max_aspect)
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "decode")
        self._runner = ThreadPoolExecutor(1, "infer", initializer=use_threads, initargs=(settings.torch_threads,))

    @property
    def classifier(self) -> Classifier:
        """The loaded model.

        Raises:
            Problem: 503 while it is loading, or if that failed.
        """
        if self._classifier is None:
            raise unavailable(
                "The model could not be loaded; the cause is in the server's log."
                if self.failure
                else "The model is still loading."
            )
        return self._classifier

    def check_open(self) -> None:
        """Raises a 503 problem unless new work is taken."""
        if self._draining:
            raise unavailable("The server is stopping.")
        _ = self.classifier

    async def load(self) -> None:
        """Loads and warms the model; a failure is kept, not raised."""
        loop = asyncio.get_running_loop()
        try:
            self._classifier = await loop.run_in_executor(self._runner, self._load)
        except ModelError as error:
            self.failure = error
        except Exception as error:
            logger.exception("loading the model failed")
            self.failure = ModelError(f"The model cannot be loaded: {error}. The cause is in the log above.")
        if self._on_loaded:
            self._on_loaded(self)
        elif self.failure:
            logger.error("%s", self.failure)

    async def classify(self, uploads: Sequence[Upload], top_k: int) -> Answer:
        """Decodes and classifies the files of one request.

        Cancelling it drops what has not been started.

        Raises:
            Problem: of the first file that cannot be used, by its place in the request.
        """
        loop = asyncio.get_running_loop()
        classifier = self.classifier
        asked = time.perf_counter()
        decoded = await asyncio.gather(
            *(loop.run_in_executor(self._decoders, self._decode, upload, classifier) for upload in uploads)
        )
        prepared = []
        for index, (item, _, _) in enumerate(decoded):
            if isinstance(item, ImageError):
                several = len(uploads) > 1
                raise image_problem(item, index=index if several else None, filename=uploads[index].filename)
            prepared.append(item)
        decode_start, decode_end = min(times[1] for times in decoded), max(times[2] for times in decoded)
        labels, infer_start, infer_end = await loop.run_in_executor(
            self._runner, self._infer, prepared, classifier, top_k
        )
        return Answer(
            labels,
            queue=(decode_start - asked) + (infer_start - decode_end),
            decode=decode_end - decode_start,
            infer=infer_end - infer_start,
        )

    def drain(self) -> None:
        """Takes no new work from here on; what has begun is finished."""
        self._draining = True

    def close(self) -> None:
        """Drops what has not been started and lets the threads end."""
        self.drain()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        self._runner.shutdown(wait=False, cancel_futures=True)

    def _load(self) -> Classifier:
        settings = self.settings
        return Classifier(locate(settings.model), device=settings.device, max_batch=settings.max_batch)

    def _decode(self, upload: Upload, classifier: Classifier) -> tuple[Tensor | ImageError, float, float]:
        start = time.perf_counter()
        item: Tensor | ImageError
        try:
            # Resizing belongs here: what stays in memory while a request waits is small.
            item = classifier.prepare(decode(bytes(upload.data), self._limits))
        except ImageError as error:
            item = error
        return item, start, time.perf_counter()

    @staticmethod
    def _infer(prepared: list[Tensor], classifier: Classifier, top_k: int) -> tuple[list[Labels], float, float]:
        start = time.perf_counter()
        labels = classifier.label(classifier.scores(torch.stack(prepared)), top_k)
        return labels, start, time.perf_counter()
