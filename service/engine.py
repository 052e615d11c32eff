"""Classify images: the models, the pool that decodes images, limits and deadlines behind one facade."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ait_lite.images.limits import ImageLimits
from service.errors import DeadlineExceeded, ModelUnavailable, QueueFull, ServerStopping
from service.images.memory import PixelBudget, decoding_bytes
from service.images.pool import SMALL, Decoders, Prepare, Prepared
from service.images.upload import Upload
from service.models.registry import Models
from service.models.served_model import ServedModel
from service.observability.events import Observer
from service.processes.machine import available_processors
from service.repository.folders import ModelError
from service.scores import Labels
from service.settings import Settings

logger = logging.getLogger(__name__)

END_SECONDS = 5.0  # for models to finish, after the server has waited for the requests


@dataclass(frozen=True)
class Answer:
    """Labels of each image, and where the time went, in seconds."""

    predictions: list[Labels]
    queue: float
    decode: float
    infer: float


class Engine:
    """The models of a server process and the threads that decode images.

    Attributes:
        models: What is served.
        decoders: The threads.
    """

    def __init__(
        self,
        settings: Settings,
        on_loaded: Callable[[Engine], None] | None = None,
        observer: Observer | None = None,
    ) -> None:
        """Prepare to load; `on_loaded` is called on the event loop when loading has ended, well or not."""
        self.settings = settings
        self.observer = observer or Observer()
        self.models = Models(settings, self.observer)
        self._draining = False
        self._on_loaded = on_loaded
        limits = ImageLimits(settings.max_pixels, settings.max_aspect)
        threads = settings.decode_threads or min(available_processors(), 8)
        self._budget = PixelBudget(decoding_bytes(settings.workers))
        self.decoders = Decoders(threads, limits, settings.max_queue, self._budget)

    @property
    def failure(self) -> ModelError | None:
        """The reason why nothing can be served at all; None while it is loading and once it is loaded."""
        return self.models.failure

    @property
    def draining(self) -> bool:
        """True while the server stops."""
        return self._draining

    @property
    def ready(self) -> bool:
        """True while new requests are answered."""
        return not self._draining and self.models.ready

    def check_open(self) -> None:
        """Check that new work is taken.

        Raises:
            ServerStopping: The server is stopping.
        """
        if self._draining:
            raise ServerStopping

    def check_ready(self) -> None:
        """Check that new requests are answered.

        Raises:
            ServiceUnavailable: The server is stopping, or a model is still loading or does not answer.
        """
        self.check_open()
        self.models.get()
        if not self.ready:
            raise ModelUnavailable("More models are still loading.")

    def deadline(self, seconds: float | None = None) -> float:
        """Compute the `loop.time()` until which a request that came just now may take.

        Args:
            seconds: How long its client waits; None, and more than the settings give, is as the settings say.
        """
        most = self.settings.deadline_seconds
        return asyncio.get_running_loop().time() + (most if seconds is None else min(seconds, most))

    async def load(self) -> None:
        """Load and warm the models; a failure is kept, not raised."""
        await self.models.start()
        self._budget.total = decoding_bytes(self.settings.workers)  # what the models have left
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
        """Decode the files of one request for a model. Cancelling drops what has not been started.

        Args:
            uploads: The files.
            model: What they are for.
            deadline: `loop.time()` after which nobody waits for the answer.
            prepare: What makes an input of a decoded image, on any thread; None is `model.prepare`.

        Raises:
            ImageRejected: The first file that cannot be used, by its place in the request.
            QueueFull: Too many images wait for decoding, or there is no memory for them now.
            DeadlineExceeded: The deadline has passed.
        """
        _, height, width = model.input_size
        try:
            prepared = await self.decoders.prepare(
                uploads,
                prepare or model.prepare,
                small=prepare is None and height * width <= SMALL.pixels,
                deadline=deadline,
            )
        except (QueueFull, DeadlineExceeded) as error:
            self.observer.rejected(model.folder.name, model.folder.version, error.reason)
            raise
        self.observer.decoded(len(uploads), prepared.queue, prepared.decode)
        return prepared

    async def classify(
        self, uploads: Sequence[Upload], top_k: int, model: ServedModel, *, deadline: float | None = None
    ) -> Answer:
        """Decode and classify the files of one request.

        Raises:
            ServiceError: As `prepare` and `ServedModel.infer`.
        """
        model.check_room(len(uploads))
        prepared = await self.prepare(uploads, model, deadline=deadline)
        inference = await model.infer(prepared.inputs, deadline=deadline)
        predictions = model.best_labels(inference, top_k)
        return Answer(predictions, prepared.queue + inference.queue, prepared.decode, inference.infer)

    def drain(self) -> None:
        """Take no new work from here on; what has begun is finished."""
        self._draining = True

    async def close(self) -> None:
        """End the models when they have finished what they began, or hang, and let the threads end."""
        self.drain()
        self.decoders.close()
        await self.models.close(END_SECONDS)
