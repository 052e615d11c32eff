"""Serve one version of a model: its queues, and its process, which is kept alive."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ait_lite.checkpoint import WEIGHTS
from ait_lite.images.crop import Cropping
from ait_lite.images.pixels import Pixels
from ait_lite.runtimes import Agreement, is_prepared
from service.batching.batcher import Batcher, Closed
from service.errors import ModelFailed, ModelUnavailable, ServiceError
from service.model_process.client import ProcessEnded, Reply
from service.model_process.launcher import Launcher
from service.model_process.supervised import SupervisedProcess
from service.models.batch_outputs import BatchOutputs, Row
from service.models.explainer import Explainer
from service.models.idleness import Idleness
from service.observability.events import Observer
from service.repository.folders import ModelError, ModelFolder, ServingSettings, serving_file
from service.scores import Labels, best_labels, sigmoid, softmax
from service.settings import Settings

logger = logging.getLogger(__name__)

Operation = Literal["logits", "features"]

AHEAD = 1  # batches handed to the process besides those that it works on: it has the next one when one is done


@dataclass(frozen=True)
class Inference:
    """The outputs of a model for the images of a request.

    Attributes:
        outputs: Float32 (n, classes) for logits, (n, features) for features.
        queue: Seconds spent waiting, for a batch to be made and for its turn.
        infer: Seconds in the model.
        rows: What the outputs were taken from; empty where they were not the rows of batches.
    """

    outputs: np.ndarray
    queue: float
    infer: float
    rows: Sequence[Row] = ()


class _Question(NamedTuple):
    """One image to be explained."""

    pixels: np.ndarray
    options: dict[str, Any]


class ServedModel:
    """A version of a model. It is made by `load`.

    Attributes:
        folder: Where it came from: `name`, `version`, `path`, `config`.
        labels: Class names, by index.
        input_size: (channels, height, width) of an input.
        num_features: Length of a feature vector; 0 if the model gives none.
        temperature: What logits are divided by, so that probabilities are shares of right answers; None if the
            checkpoint carries none.
        no_torch: Why the model is not there in torch, which `explain` needs; empty if it is.
        runtime: What it runs in, as `service.model_process.runtimes.choice.Choice.to_dict` says.
        max_batch: Most inputs in a batch.
    """

    def __init__(
        self,
        folder: ModelFolder,
        process: SupervisedProcess,
        settings: Settings,
        serving: ServingSettings,
        observer: Observer,
        idleness: Idleness,
        explainer: Explainer | None = None,
    ) -> None:
        """Take a process that has loaded the folder's model; `load` does all of it.

        Args:
            folder: Of the model.
            process: Answers.
            settings: Of the server.
            serving: Of the model.
            observer: Is told what happens.
            idleness: Is told of batches.
            explainer: Explains in place of the process; None where that does so itself, or nothing does.
        """
        self.folder = folder
        self.labels: list[str] = process.description["labels"]
        self.num_features: int = process.description["num_features"]
        self.temperature: float | None = process.description["temperature"]
        self._explains_itself: bool = process.description["explains"]
        self._explaining = explainer
        self.runtime: dict[str, Any] = process.description["runtime"]
        self.no_torch: str = process.description["no_torch"]
        self.max_batch = serving.max_batch or settings.max_batch
        self._process, self._observer, self._idleness = process, observer, idleness
        self._refusals = _Refusals(folder, observer)
        self._crop = Cropping(process.description["data_config"])
        self.input_size = self._crop.input_size
        self._users = 0
        self._unused = asyncio.Event()
        self._unused.set()
        self._closing = False
        max_queue = serving.max_queue or settings.max_queue
        max_delay = settings.max_delay_ms if serving.max_delay_ms is None else serving.max_delay_ms
        self._batchers: dict[str, Batcher[np.ndarray, Row]] = {
            operation: Batcher(
                partial(self._infer, operation),
                max_batch=process.description["best_batch"],
                piece=process.description["piece"],
                max_queue=max_queue,
                # Beside other work, what a batch costs besides its inputs looks like more than it is.
                max_delay=min(max_delay / 1e3, process.description["batch_seconds"]),
                parallel=process.description["streams"],
                ahead=AHEAD,
                observe=partial(observer.batch, folder.name, folder.version, operation),
            )
            for operation in ("logits", "features")
        }
        self._explainer: Batcher[_Question, Reply] = Batcher(
            self._explain,
            max_batch=1,
            max_queue=max_queue,
            max_delay=0.0,
            observe=partial(observer.batch, folder.name, folder.version, "explain"),
        )

    @classmethod
    async def load(
        cls,
        folder: ModelFolder,
        launcher: Launcher,
        settings: Settings,
        serving: ServingSettings,
        observer: Observer,
        idleness: Idleness,
    ) -> ServedModel:
        """Load a model; it is warm and ready on return.

        Raises:
            ModelError: It cannot be loaded.
        """
        name, version = folder.name, folder.version
        logger.info("model %s version %s is being loaded from %s", name, version, folder.path)
        began = time.perf_counter()
        spec: dict[str, Any] = {
            "name": name,
            "version": version,
            "path": str(folder.path),
            "config": folder.config,
            "device": settings.device,
            "torch_threads": settings.torch_threads,
            "max_batch": serving.max_batch or settings.max_batch,
            "runtime": serving.runtime or settings.runtime,
            "precision": serving.precision or settings.precision,
            "runtime_file": str(serving_file(folder.path) or "") if serving.runtime else "",
            "cache": settings.cache,
            "explain": settings.explain == "auto",
            "torch": True,
            "only_explains": False,
        }

        def supervised(launcher: Launcher, spec: dict[str, Any]) -> SupervisedProcess:
            return SupervisedProcess(
                launcher,
                spec,
                load_seconds=settings.load_seconds,
                stuck_seconds=settings.stuck_seconds,
                on_ended=lambda: observer.ended(name, version, expected=False),
                on_loaded=lambda seconds, error: observer.loaded(
                    name, version, seconds, str(error) if error else None
                ),
                loading=nullcontext if spec["only_explains"] else idleness.loading,
            )

        explainer = None
        if _needs_no_torch(folder, spec):
            process = supervised(launcher.light, spec | {"torch": False})
            try:
                await process.start()
            except ModelError as error:
                if not (folder.path / WEIGHTS).is_file() or find_spec("torch") is None:
                    raise
                logger.warning("%s Its weights are served instead.", error)
                process = supervised(launcher, spec)
                await process.start()
            else:
                if settings.explain == "auto" and not process.description["no_torch"]:
                    explaining = spec | {"runtime": "torch", "precision": "fp32", "only_explains": True}
                    explainer = Explainer(supervised(launcher, explaining), idleness)
        else:
            process = supervised(launcher, spec)
            await process.start()
        _log(folder, process.description, time.perf_counter() - began)
        return cls(folder, process, settings, serving, observer, idleness, explainer)

    @property
    def ready(self) -> bool:
        """True while requests are answered."""
        return self._process.up and not self._closing

    @property
    def explains(self) -> bool:
        """True if `explain` has an answer, as far as is known: the model may not have been loaded for it yet."""
        return self._explaining.explains if self._explaining else self._explains_itself

    @property
    def calibrated(self) -> bool:
        """True if the checkpoint carries a temperature."""
        return self.temperature is not None

    def region(self, width: int, height: int) -> list[float]:
        """Compute the part of an image that the model sees: left, top, right, bottom as shares of its sides."""
        return self._crop.region(width, height)

    @property
    def pid(self) -> int | None:
        """The process that holds the model; None while there is none."""
        return self._process.pid

    @property
    def explainer_pid(self) -> int | None:
        """The process that explains in place of that one; None while there is none."""
        return self._explaining.pid if self._explaining else None

    @property
    def depth(self) -> int:
        """Inputs that wait."""
        return sum(batcher.depth for batcher in self._batchers.values()) + self._explainer.depth

    @contextmanager
    def held(self) -> Iterator[None]:
        """Have the model go on answering within this context, whatever becomes of its files."""
        self._users += 1
        self._unused.clear()
        try:
            yield
        finally:
            self._users -= 1
            if not self._users:
                self._unused.set()

    def prepare(self, pixels: Pixels) -> np.ndarray:
        """Crop an RGB image of any size to a uint8 array of shape `input_size`; takes a while, call it on a thread."""
        return self._crop(pixels)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Turn logits (n, classes) into probabilities, float32 of the same shape; calibrated if `calibrated`."""
        if self.folder.config.get("multi_label"):
            return sigmoid(logits)
        return softmax(logits, self.temperature)

    def best_labels(self, inference: Inference, top_k: int) -> list[Labels]:
        """Label the `top_k` most probable classes of each input, of logits; scores have six decimals."""
        if inference.rows:
            return [row.best_labels(self.labels, top_k) for row in inference.rows]
        return best_labels(self.probabilities(inference.outputs), self.labels, top_k)

    def check_room(self, inputs: int, operation: Operation = "logits") -> None:
        """Raise what `infer` would raise now for so many inputs, before work is put into them."""
        with self._refusals:
            self._batchers[operation].check_room(inputs)

    async def infer(
        self, inputs: Sequence[np.ndarray], *, operation: Operation = "logits", deadline: float | None = None
    ) -> Inference:
        """Run the model, together with what other requests sent.

        Args:
            inputs: Arrays of shape `input_size`, each either uint8 as `prepare` makes them, or float32 that is
                normalised already.
            operation: "logits", or "features", the vectors of `ait.interpret.embedding`.
            deadline: `loop.time()` after which nobody waits for the answer.

        Raises:
            RequestTooLarge: More inputs than the queue ever takes.
            QueueFull: There is no room for them now.
            ModelUnavailable: The model's process ended, or the model has been unloaded.
            DeadlineExceeded: The deadline has passed.
            ModelFailed: The model's answer is not finite, though all inputs are.
            ValueError: An input has another shape or type.
        """
        for each in inputs:
            if each.shape != self.input_size or each.dtype not in (np.uint8, np.float32):
                raise ValueError(f"An input is {each.dtype}{each.shape}, not uint8 or float32 {self.input_size}.")
        start = time.perf_counter()
        with self._refusals:
            rows = await self._batchers[operation].submit(inputs, deadline=deadline)
        total = time.perf_counter() - start
        infer = sum(batch.seconds for batch in {row.batch for row in rows})
        outputs = rows[0].values if len(rows) == 1 else np.concatenate([row.values for row in rows])
        if not all(row.finite for row in rows):
            self._observer.rejected(self.folder.name, self.folder.version, ModelFailed.reason)
            raise ModelFailed(f"Model {self.folder.name} answers this input with numbers that are not finite.")
        queue = max(total - infer, 0.0)
        self._observer.inferred(self.folder.name, self.folder.version, operation, len(inputs), queue, infer)
        return Inference(outputs, queue, infer, rows)

    async def explain(
        self, pixels: np.ndarray, *, class_index: int | None = None, deadline: float | None = None
    ) -> dict[str, Any]:
        """Run `service.model_process.explain.explain` where the model is.

        Args:
            pixels: One input, as for `infer`.
            class_index: The class to explain; None is the most probable one.
            deadline: As for `infer`.

        Returns:
            What it returned, and the `seconds` that it took; sequences are lists.

        Raises:
            ServiceError: As `infer`.
        """
        start = time.perf_counter()
        with self._refusals:
            question = _Question(pixels, {"class_index": class_index})
            (reply,) = await self._explainer.submit([question], deadline=deadline)
        queue = max(time.perf_counter() - start - reply.seconds, 0.0)
        self._observer.inferred(self.folder.name, self.folder.version, "explain", 1, queue, reply.seconds)
        return {**reply.values, **reply.arrays, "seconds": reply.seconds}

    async def retire(self) -> None:
        """Answer what holds on to the model, then end its process. New requests should not get here any more."""
        await self._unused.wait()
        await self.close()

    async def close(self) -> None:
        """Answer what is in the queues, then end the process."""
        self._closing = True
        await asyncio.gather(self._explainer.close(), *(each.close() for each in self._batchers.values()))
        if self._explaining:
            await self._explaining.close()
        await self._process.close()
        self._observer.ended(self.folder.name, self.folder.version, expected=True)

    def kill(self) -> None:
        """End its processes at once, for good; what they have not answered fails."""
        if self._explaining:
            self._explaining.kill()
        self._process.kill()

    async def _infer(self, operation: str, inputs: list[np.ndarray]) -> list[Row]:
        self._idleness.disturb()
        reply = await self._process.call(operation, inputs)
        batch = BatchOutputs(reply, self.probabilities)
        return [Row(batch, place) for place in range(len(batch.values))]

    async def _explain(self, questions: list[_Question]) -> list[Reply]:
        process = await self._explaining.process() if self._explaining else self._process
        return [await process.call("explain", [each.pixels], **each.options) for each in questions]


class _Refusals:
    """Say in the model's words why its queue or its process does not answer, and tell the observer (a context)."""

    def __init__(self, folder: ModelFolder, observer: Observer) -> None:
        self._folder, self._observer = folder, observer

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        unavailable = None
        if isinstance(error, Closed):
            unavailable = ModelUnavailable("The model has been unloaded.")
        elif isinstance(error, ProcessEnded):
            unavailable = ModelUnavailable(f"The model's process {error}. Try again.")
        refusal = unavailable or error
        if isinstance(refusal, ServiceError):
            reason = refusal.reason
        elif isinstance(refusal, asyncio.CancelledError):
            reason = "cancelled"
        elif isinstance(refusal, Exception):  # whatever the model's operation raised; it is only counted here
            reason = "failed"
        else:
            return
        self._observer.rejected(self._folder.name, self._folder.version, reason)
        if unavailable is not None:
            raise unavailable from None


def _needs_no_torch(folder: ModelFolder, spec: dict[str, Any]) -> bool:
    """Find out whether a process without torch can serve a model as it is wanted: its graph is in its folder.

    It is served in seconds then, and takes a fraction of the memory. On an accelerator, torch may be faster.
    """
    accelerated = spec["device"] not in ("auto", "cpu") or Path("/dev/nvidiactl").exists()
    return spec["runtime"] != "torch" and is_prepared(folder.path) and not accelerated


def _log(folder: ModelFolder, description: dict[str, Any], seconds: float) -> None:
    """Tell what a model runs in, and what the others did."""
    runtime = description["runtime"]
    logger.info(
        "model %s version %s was loaded in %.1f s; it runs in %s %s, in batches of up to %d images, %d at once: %s",
        folder.name, folder.version, seconds, runtime["name"], runtime["precision"],
        description["best_batch"], description["piece"], runtime["reason"],
    )  # fmt: skip
    for each in runtime["tried"]:
        rates = ", ".join(f"{rate:g} at batches of {size}" for size, rate in each["images_per_second"].items())
        told = [each["reason"] or (rates and f"images/s: {rates}")]
        agreement = str(Agreement(**each["agreement"])) if each["agreement"] else ""
        if agreement not in told[0]:  # some reasons name it
            told.append(agreement)
        if any(told):
            logger.info("%s %s: %s", each["runtime"], each["precision"], "; ".join(filter(None, told)))
