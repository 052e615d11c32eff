"""One version of a model that answers requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image

from service.explaining import explain
from service.observer import Observer
from service.problems import too_late
from service.repository import ModelFolder
from service.runner import Classifier

Operation = Literal["logits", "features"]


@dataclass(frozen=True)
class Inference:
    """What a model said to the pictures of a request.

    Attributes:
        outputs: float32 (n, classes) for logits, (n, features) for features.
        queue: seconds spent waiting.
        infer: seconds in the model.
    """

    outputs: np.ndarray
    queue: float
    infer: float


class ServedModel:
    """A version of a model, its process and its queues.

    Attributes:
        folder: where it came from: `name`, `version`, `path`, `config`.
        labels: class names, by index.
        input_size: (channels, height, width) of an input.
        num_features: length of a feature vector.
        max_batch: most images in a batch.
    """

    def __init__(self, folder: ModelFolder, classifier: Classifier, observer: Observer) -> None:
        self.folder = folder
        self.labels = classifier.labels
        self.input_size = classifier.input_size
        self.num_features = classifier.num_features
        self.max_batch = classifier.max_batch
        self._classifier = classifier
        self._observer = observer
        self._thread = ThreadPoolExecutor(1, "infer")

    @property
    def ready(self) -> bool:
        """Whether requests are answered now."""
        return True

    def prepare(self, picture: Image.Image) -> np.ndarray:
        """RGB picture of any size -> uint8 array of shape `input_size`; takes a while, call it on a thread."""
        return self._classifier.prepare(picture)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """(n, classes) -> class probabilities, float32 of the same shape."""
        exponentials = np.exp(logits - logits.max(-1, keepdims=True))
        return exponentials / exponentials.sum(-1, keepdims=True)

    async def infer(
        self, inputs: Sequence[np.ndarray], *, operation: Operation = "logits", deadline: float | None = None
    ) -> Inference:
        """Runs the model, together with what other requests sent.

        Args:
            inputs: arrays of shape `input_size`, each either uint8 as `prepare` makes them, or float32 that is
                normalised already.
            operation: "logits", or "features": what the head is given, pooled.
            deadline: `loop.time()` after which nobody waits for the answer.

        Raises:
            Problem: 413 for more inputs than the queue takes, 429 when it is full, 503 when the model is
                restarting or has stopped, 504 past the deadline.
            ValueError: an input has another shape or type.
        """
        for each in inputs:
            if each.shape != self.input_size or each.dtype not in (np.uint8, np.float32):
                raise ValueError(f"An input is {each.dtype}{each.shape}, not uint8 or float32 {self.input_size}.")
        asked = time.perf_counter()
        loop = asyncio.get_running_loop()

        def run() -> tuple[np.ndarray, float, float]:
            start = time.perf_counter()
            batch = self._classifier.batch(inputs)
            compute = self._classifier.logits if operation == "logits" else self._classifier.features
            return compute(batch).numpy(), start, time.perf_counter()

        try:
            async with asyncio.timeout_at(deadline):
                outputs, start, end = await loop.run_in_executor(self._thread, run)
        except TimeoutError as error:
            raise too_late() from error
        return Inference(outputs, start - asked, end - start)

    async def explain(
        self, pixels: np.ndarray, *, class_index: int | None = None, deadline: float | None = None
    ) -> dict[str, Any]:
        """Runs `service.explaining.explain` where the model is.

        Args:
            pixels: one input, as for `infer`.
            class_index: the class to explain; None is the most probable one.
            deadline: as for `infer`.

        Raises:
            Problem: as for `infer`.
        """
        loop = asyncio.get_running_loop()

        def run() -> dict[str, Any]:
            batch = self._classifier.batch([pixels])
            with torch.inference_mode(False):
                return explain(self._classifier.model, batch, class_index)

        return await loop.run_in_executor(self._thread, run)
