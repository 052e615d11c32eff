"""What the routes hold: the models, the pool that decodes pictures, limits and deadlines."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from service.images import ImageError, ImageLimits, decode
from service.models import Models, ServedModel
from service.observer import Observer
from service.problems import image_problem, too_late, unavailable
from service.repository import ModelError
from service.settings import Settings
from service.uploads import Upload

logger = logging.getLogger(__name__)

Labels = list[tuple[str, float]]


@dataclass(frozen=True)
class Prepared:
    """Pictures of a request, decoded and cropped for a model: uint8 arrays; times in seconds."""

    inputs: list[np.ndarray]
    queue: float
    decode: float


@dataclass(frozen=True)
class Answer:
    """Labels of each picture, and where the time went, in seconds."""

    predictions: list[Labels]
    queue: float
    decode: float
    infer: float


class Engine:
    """The models of a server process and the threads that decode pictures.

    Attributes:
        models: what is served.
        failure: why nothing can be served at all; None while it is loading and once it is.
    """

    def __init__(
        self,
        settings: Settings,
        on_loaded: Callable[[Engine], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        """`on_loaded` is called on the event loop when loading has ended, well or not."""
        self.settings = settings
        self.observer = observer or Observer()
        self.models = Models(settings, self.observer)
        self._draining = False
        self._on_loaded = on_loaded
        self._limits = ImageLimits(settings.max_pixels, settings.max_aspect)
        self._decoders = ThreadPoolExecutor(settings.decode_threads, "decode")

    @property
    def failure(self) -> ModelError | None:
        return self.models.failure

    @property
    def draining(self) -> bool:
        """Whether the server is stopping."""
        return self._draining

    @property
    def ready(self) -> bool:
        """Whether new requests are answered."""
        return not self._draining and self.models.ready

    def check_open(self) -> None:
        """Raises a 503 problem unless new work is taken."""
        if self._draining:
            raise unavailable("The server is stopping.")
        if not self.models.ready:
            self.models.get()
            raise unavailable("The server is starting.")

    def deadline(self, headers: Mapping[str, str] | None = None) -> float | None:
        """`loop.time()` until which a request that came just now may take.

        Raises:
            Problem: 400 for a header that does not say a time.
        """
        return None

    async def load(self) -> None:
        """Loads and warms the models; a failure is kept, not raised."""
        await self.models.start()
        if self._on_loaded:
            self._on_loaded(self)
        elif self.failure:
            logger.error("%s", self.failure)

    async def prepare(
        self, uploads: Sequence[Upload], model: ServedModel, *, deadline: float | None = None
    ) -> Prepared:
        """Decodes the files of one request for a model. Cancelling it drops what has not been started.

        Raises:
            Problem: of the first file that cannot be used, by its place in the request; 429 when too many
                pictures wait for decoding; 504 past the deadline.
        """
        loop = asyncio.get_running_loop()
        asked = time.perf_counter()
        try:
            async with asyncio.timeout_at(deadline):
                decoded = await asyncio.gather(
                    *(loop.run_in_executor(self._decoders, self._decode, upload, model) for upload in uploads)
                )
        except TimeoutError as error:
            raise too_late() from error
        inputs = []
        for index, (item, _, _) in enumerate(decoded):
            if isinstance(item, ImageError):
                several = len(uploads) > 1
                raise image_problem(item, index=index if several else None, filename=uploads[index].filename)
            inputs.append(item)
        start, end = min(times[1] for times in decoded), max(times[2] for times in decoded)
        return Prepared(inputs, queue=start - asked, decode=end - start)

    async def classify(
        self, uploads: Sequence[Upload], top_k: int, model: ServedModel, *, deadline: float | None = None
    ) -> Answer:
        """Decodes and classifies the files of one request.

        Raises:
            Problem: as `prepare` and `ServedModel.infer`.
        """
        prepared = await self.prepare(uploads, model, deadline=deadline)
        inference = await model.infer(prepared.inputs, deadline=deadline)
        predictions = best_labels(model.probabilities(inference.outputs), model.labels, top_k)
        return Answer(predictions, prepared.queue + inference.queue, prepared.decode, inference.infer)

    def drain(self) -> None:
        """Takes no new work from here on; what has begun is finished."""
        self._draining = True

    async def close(self) -> None:
        """Ends the models when they have finished what they began, and lets the threads end."""
        self.drain()
        self._decoders.shutdown(wait=False, cancel_futures=True)
        await self.models.close()

    def _decode(self, upload: Upload, model: ServedModel) -> tuple[np.ndarray | ImageError, float, float]:
        start = time.perf_counter()
        item: np.ndarray | ImageError
        try:
            # Cropping belongs here: what stays in memory while a request waits is small.
            item = model.prepare(decode(bytes(upload.data), self._limits))
        except ImageError as error:
            item = error
        return item, start, time.perf_counter()


def best_labels(probabilities: np.ndarray, labels: Sequence[str], top_k: int) -> list[Labels]:
    """The `top_k` best classes of each row of (n, classes); more than there are classes means all."""
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top_k].tolist()
    rows = probabilities.tolist()
    return [
        [(labels[index], round(row[index], 6)) for index in indices] for row, indices in zip(rows, order, strict=True)
    ]
