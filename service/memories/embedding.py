"""From images to what a memory stores or is asked: the way of all images, with their limits and their batches."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Final

import numpy as np

from ait_lite.images.pixels import Pixels, to_image
from service.engine import Engine
from service.errors import QueueFull, ServiceError
from service.images.upload import Upload
from service.memories.answering.index import keys_of, pack
from service.memories.records import Keep, Lesson, Memory
from service.models.served_model import ServedModel

THUMBNAIL: Final = 96  # pixels of the longer side
CHUNK: Final = 16  # images of one request that are on their way at the same time


@dataclass(frozen=True)
class Draft:
    """An example before its image has been looked at."""

    lesson: Lesson
    upload: Upload


class _Thumbnailer:
    """Prepares an image for a model, and draws a thumbnail of it on the way."""

    def __init__(self, model: ServedModel, keep: Keep) -> None:
        self._model, self._keep = model, keep
        self.thumbnail: bytes | None = None

    def __call__(self, pixels: Pixels) -> np.ndarray:
        if self._keep != "nothing":
            small = to_image(pixels).copy()
            small.thumbnail((THUMBNAIL, THUMBNAIL))
            file = BytesIO()
            small.save(file, "JPEG", quality=85)
            self.thumbnail = file.getvalue()
        return self._model.prepare(pixels)


class Embedder:
    """Turns images into examples, as many at a time as the queues have room for."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine that decodes and runs models."""
        self._engine = engine

    async def vectors(self, uploads: Sequence[Upload], model: ServedModel, deadline: float) -> np.ndarray:
        """Compute feature vectors (n, d) of the images of one request.

        Raises:
            ServiceError: As `Engine.prepare` and `ServedModel.infer`.
        """
        model.check_room(len(uploads), "features")
        prepared = await self._engine.prepare(uploads, model, deadline=deadline)
        return (await model.infer(prepared.inputs, operation="features", deadline=deadline)).outputs

    async def lesson(self, draft: Draft, memory: Memory, model: ServedModel, deadline: float) -> Lesson:
        """Make an example of an image.

        Raises:
            ServiceError: As `vectors`.
        """
        prepare = _Thumbnailer(model, memory.options.keep)
        prepared = await self._engine.prepare([draft.upload], model, deadline=deadline, prepare=prepare)
        features = await model.infer(prepared.inputs, operation="features", deadline=deadline)
        return replace(
            draft.lesson,
            key=pack(keys_of(features.outputs, memory.binding))[0],
            thumbnail=prepare.thumbnail,
            image=bytes(draft.upload.data) if memory.options.keep == "image" else None,
        )

    async def lessons(
        self, drafts: Sequence[Draft], memory: Memory, model: ServedModel, deadline: float | None = None
    ) -> AsyncIterator[list[Lesson | ServiceError]]:
        """Make examples of many images, some at a time, each with the time that a request has.

        What the queues have no room for is tried again: other requests come first.

        Args:
            drafts: The examples.
            memory: That they are for.
            model: Looks at them.
            deadline: `loop.time()` after which nobody waits for any of them; None: for as long as it takes.
        """
        for start in range(0, len(drafts), CHUNK):
            chunk = drafts[start : start + CHUNK]
            yield await asyncio.gather(*(self._patiently(draft, memory, model, deadline) for draft in chunk))

    async def _patiently(
        self, draft: Draft, memory: Memory, model: ServedModel, most: float | None
    ) -> Lesson | ServiceError:
        deadline = self._engine.deadline()
        if most is not None:
            deadline = min(deadline, most)
        while True:
            try:
                return await self.lesson(draft, memory, model, deadline)
            except QueueFull as error:
                if asyncio.get_running_loop().time() + error.retry_after > deadline:
                    return error
                await asyncio.sleep(max(error.retry_after, 0.01))
            except ServiceError as error:
                return error


def sha256(upload: Upload) -> str:
    """Hash a file with SHA-256, in hexadecimal."""
    return hashlib.sha256(upload.data).hexdigest()
