"""What the routes hold: the models, the pool that decodes pictures, limits and deadlines."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ait_lite.decode import ImageLimits
from service.http.problems import Problem, unavailable
from service.http.uploads import Upload
from service.images.pool import SMALL, Decoders, Prepare, Prepared
from service.machine import available_processors
from service.models.registry import Models, ServedModel
from service.observability.events import Observer
from service.repository.folders import ModelError
from service.settings import Settings

logger = logging.getLogger(__name__)

Labels = list[tuple[str, float]]

TIMEOUT_HEADER = "X-Request-Timeout"


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
        decoders: the threads.
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
        limits = ImageLimits(settings.max_pixels, settings.max_aspect)
        self.decoders = Decoders(settings.decode_threads or min(available_processors(), 8), limits, settings.max_queue)

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
        """Raises a 503 problem when the server is stopping and takes no new work."""
        if self._draining:
            raise unavailable("The server is stopping.")

    def check_ready(self) -> None:
        """Raises a 503 problem unless `ready`."""
        self.check_open()
        self.models.get()
        if not self.ready:
            raise unavailable("More models are still loading.")

    def deadline(self, headers: Mapping[str, str] | None = None) -> float:
        """`loop.time()` until which a request that came just now may take.

        Raises:
            Problem: 400 for a header that does not say a time.
        """
        seconds = self.settings.deadline_seconds
        if headers is not None and (asked := headers.get(TIMEOUT_HEADER)) is not None:
            seconds = min(seconds, _seconds(asked))
        return asyncio.get_running_loop().time() + seconds

    async def load(self) -> None:
        """Loads and warms the models; a failure is kept, not raised."""
        await self.models.start()
        if self._on_loaded:
            self._on_loaded(self)
        elif self.failure:
            logger.error("%s", self.failure)

    async def prepare(
        self,
        uploads: Sequence[Upload],
        model: ServedModel,
        *,
        deadline: float | None = None,
        prepare: Prepare | None = None,
    ) -> Prepared:
        """Decodes the files of one request for a model. Cancelling it drops what has not been started.

        Args:
            uploads: the files.
            model: what they are for.
            deadline: `loop.time()` after which nobody waits for the answer.
            prepare: what makes an input of a decoded picture, on any thread; None is `model.prepare`.

        Raises:
            Problem: of the first file that cannot be used, by its place in the request; 429 when too many
                pictures wait for decoding; 504 past the deadline.
        """
        _, height, width = model.input_size
        try:
            prepared = await self.decoders.prepare(
                uploads,
                prepare or model.prepare,
                small=prepare is None and height * width <= SMALL.pixels,
                deadline=deadline,
            )
        except Problem as problem:
            if reason := {429: "queue-full", 504: "deadline"}.get(problem.status):
                self.observer.rejected(model.folder.name, model.folder.version, reason)
            raise
        self.observer.decoded(len(uploads), prepared.queue, prepared.decode)
        return prepared

    async def classify(
        self, uploads: Sequence[Upload], top_k: int, model: ServedModel, *, deadline: float | None = None
    ) -> Answer:
        """Decodes and classifies the files of one request.

        Raises:
            Problem: as `prepare` and `ServedModel.infer`.
        """
        model.check_room(len(uploads))
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
        self.decoders.close()
        await self.models.close()


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        detail = f"{TIMEOUT_HEADER} is a number of seconds above 0, such as 2.5."
        raise Problem(400, "invalid-parameter", detail)
    return seconds


def best_labels(probabilities: np.ndarray, labels: Sequence[str], top_k: int) -> list[Labels]:
    """The `top_k` best classes of each row of (n, classes); more than there are classes means all."""
    order = np.argsort(-probabilities, axis=-1, kind="stable")[:, :top_k].tolist()
    rows = probabilities.tolist()
    return [
        [(labels[index], round(row[index], 6)) for index in indices] for row, indices in zip(rows, order, strict=True)
    ]
