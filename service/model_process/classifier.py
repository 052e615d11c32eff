"""Classify images with a loaded model. Knows nothing of HTTP."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from ait_lite.checkpoint import WEIGHTS, CheckpointError, read_temperature
from ait_lite.corrections import load_corrections
from ait_lite.images.crop import Cropping
from ait_lite.runtimes import Answering
from service.model_process.mixed_batch import MixedBatch, split
from service.model_process.runtimes.choice import Choice, Wanted, choose
from service.model_process.runtimes.graph_model import GraphModel
from service.model_process.runtimes.graphs import Graphs
from service.model_process.runtimes.model import Model
from service.model_process.streams import streams_on
from service.repository.folders import ModelError, ModelFolder, label_names
from service.scores import Labels, best_labels, sigmoid, softmax

if TYPE_CHECKING:
    from ait.interpret.exemplars import Exemplars
    from service.model_process.runtimes.torch_model import TorchModel

logger = logging.getLogger(__name__)

SAME = 1e-6  # of the largest logit: answers that differ by no more are the same but for rounding
IN_TORCH = Wanted("torch", "fp32")
_NOT_TRIED = "not tried, for the folder holds a graph, which needs no torch; AIT_RUNTIME=torch serves its weights"


class Classifier:
    """One model, ready to answer.

    Attributes:
        folder: Where it came from.
        labels: Class names, by index.
        input_size: (channels, height, width) of a prepared image.
        prepare: RGB image of any size -> uint8 array of that shape.
        num_features: Length of a feature vector; 0 if the model gives none.
        temperature: What logits are divided by for probabilities; None if the checkpoint carries none.
        corrections: Answers to single images that logits follow; None if the checkpoint carries none.
        data_config: What `timm.data.resolve_model_data_config` says, with statistics one a channel.
        streams: Batches that may run at the same time.
        choice: The runtime that answers, and why.
        torch_model: The model in torch, for what only that can do; None without torch, or without weights.
        no_torch: Why there can be none; empty if there can.
    """

    def __init__(
        self,
        folder: ModelFolder,
        *,
        device: str = "auto",
        max_batch: int = 32,
        wanted: Wanted | None = None,
        cache: Path | None = None,
        threads: int = 1,
        apart: bool = False,
        use_torch: bool = True,
    ) -> None:
        """Load the model and run it once.

        Args:
            folder: Of the model.
            device: Torch's.
            max_batch: Most inputs that are run at once.
            wanted: Runtime and precision; None is torch in fp32 where it is installed, else whatever is.
            cache: As for `Graphs`.
            threads: Of all batches together.
            apart: As for `Graphs`.
            use_torch: Whether to load the model in torch, where that can be.

        Raises:
            ModelError: The folder is damaged, or is not that of an image classifier, or the runtime is not installed.
        """
        self.folder = folder
        self.max_batch = max_batch
        self.no_torch = _missing(folder)
        self.torch_model = self._load_torch(device) if use_torch and not self.no_torch else None
        self.streams = streams_on(self.device, threads)
        if wanted is None:
            wanted = IN_TORCH if self.torch_model else Wanted()
        try:
            self.temperature = read_temperature(folder.config)
            self.corrections = load_corrections(folder.path)
            if self.torch_model:
                self._describe(self.torch_model.data_config)
            answering = Answering.of(folder.config)
            graphs = Graphs(folder, self.torch_model, answering=answering, cache=cache, apart=apart)
            self.choice: Choice = choose(
                wanted, self.torch_model, graphs, no_torch=self.no_torch or _NOT_TRIED,
                answering=answering, max_batch=max_batch, threads=threads, streams=self.streams,
            )  # fmt: skip
        except CheckpointError as error:
            raise ModelError(f"The model in {folder.path} cannot be loaded: {error}.") from error
        self.model: Model = self.choice.model
        if self.torch_model is None:
            self._describe(self.model.data_config)
        # Not earlier: a graph is made in a fork, where threads that torch has started here would be missing.
        self._warm_up(self.torch_model or self.model)
        if isinstance(self.model, GraphModel):
            self.model.widen()

    @property
    def device(self) -> str:
        """Torch's name of the kind of device that the model is on."""
        return self.torch_model.device.type if self.torch_model else "cpu"

    @cached_property
    def exemplars(self) -> Exemplars | None:
        """Training images to explain answers by; None if the checkpoint has none that can be used."""
        from ait.interpret.exemplars import ExemplarError, load_exemplars

        try:
            return load_exemplars(self.folder.path)
        except ExemplarError as error:  # a model that cannot show examples still answers
            logger.warning("%s", error)
            return None

    def logits(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute logits of B inputs of shape `input_size`: float32 (B, num_classes).

        Args:
            batch: The inputs.
            threads: That may be used; 0 leaves that as it is.
        """
        logits = self.model.logits(batch, threads)
        return (
            logits
            if self.corrections is None
            else self.corrections.apply(self.features(batch, threads), logits).logits
        )

    def features(self, batch: MixedBatch, threads: int = 0) -> np.ndarray:
        """Compute the vectors of `ait.interpret.embedding` of B inputs: float32 (B, num_features)."""
        graph = self.model if isinstance(self.model, GraphModel) and self.model.num_features else None
        return (graph or self.torch_model or self.model).features(batch, threads)

    def scores(self, inputs: Sequence[np.ndarray], threads: int = 0) -> np.ndarray:
        """Compute class probabilities of arrays of shape `input_size`, uint8 or normalised float32.

        Returns:
            Float32 (B, num_classes).
        """
        logits = self.logits(split(inputs), threads)
        return sigmoid(logits) if self.folder.config.get("multi_label") else softmax(logits, self.temperature)

    def label(self, scores: np.ndarray, top_k: int) -> list[Labels]:
        """Label the `top_k` best classes of each row of (B, num_classes); more than there are classes means all."""
        return best_labels(scores, self.labels, top_k)

    def classify(self, images: Sequence[Image.Image], top_k: int = 5) -> list[Labels]:
        """Label RGB images, in their order."""
        if not images:
            return []
        return self.label(self.scores([self.prepare(image) for image in images]), top_k)

    def _load_torch(self, device: str) -> TorchModel:
        from ait.pretrained.checks import check_loaded
        from service.model_process.runtimes.torch_model import TorchModel
        from service.model_process.weights import check_stored_types

        try:
            loaded = TorchModel.load(self.folder, device, self.max_batch)
            check_loaded(loaded.module)
            check_stored_types(self.folder.path / WEIGHTS, loaded.module)
            return loaded
        except ModelError:
            raise
        except Exception as error:  # whatever a damaged file makes timm, safetensors or torch raise
            raise ModelError(
                f"The model in {self.folder.path} cannot be loaded: {_first_line(error)}. Export it again, or "
                "choose another model."
            ) from error

    def _describe(self, data_config: dict[str, Any]) -> None:
        try:
            self.data_config = data_config
            self.prepare = Cropping(data_config)
            self.input_size = self.prepare.input_size
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"The model in {self.folder.path} cannot be loaded: {_first_line(error)}. Export it again, or "
                "choose another model."
            ) from error

    def _warm_up(self, model: Model) -> None:
        _, height, width = self.input_size
        try:
            # One at a time: larger batches are tried, and named where they fail, by whoever chooses their size.
            made = [self.prepare(image) for image in _made_images(width, height)]
            logits = np.concatenate([model.logits(split([each])) for each in made])
            scores = softmax(logits, self.temperature)
        except Exception as error:  # a model that is no image classifier can fail in any way
            raise ModelError(
                f"The model in {self.folder.path} ({self.folder.architecture}) does not take images of "
                f"{width} x {height} pixels: {_first_line(error)}. Choose an image classifier."
            ) from error
        self.labels = label_names(self.folder, model.num_classes)
        if scores.ndim != 2 or scores.shape[1] != len(self.labels) or not self.labels:
            raise ModelError(
                f"The model in {self.folder.path} ({self.folder.architecture}) is not a classifier. "
                "Choose one with num_classes of at least 1."
            )
        try:
            self.num_features = model.features(split([np.zeros(self.input_size, np.uint8)])).shape[1]
        except Exception:  # of a classifier that does not split into features and head as timm's do
            logger.warning("%s gives no features: %s", self.folder.architecture, traceback.format_exc())
            self.num_features = 0
        if not np.isfinite(scores).all():
            raise ModelError(
                f"The model in {self.folder.path} answers with numbers that are not finite: its weights are "
                "damaged, or its training diverged. Choose another checkpoint."
            )
        if np.ptp(logits, axis=0).max() <= SAME * max(1.0, float(np.abs(logits).max())):
            raise ModelError(
                f"The model in {self.folder.path} answers every image alike: its weights are damaged, or it has not "
                "been trained. Choose another checkpoint."
            )


def _missing(folder: ModelFolder) -> str:
    """Say what keeps a model from being loaded in torch; empty if nothing does."""
    if not (folder.path / WEIGHTS).is_file():
        return "its folder holds a graph and no weights"
    for name in ("torch", "timm"):
        if find_spec(name) is None:
            return f"{name} is not installed: pip install 'associative-transformer[models]'"
    return ""


def _made_images(width: int, height: int) -> list[Image.Image]:
    """Make images that have nothing in common: one colour, noise, a gradient, stripes."""
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    stripes = np.zeros((height, width, 3), np.uint8)
    stripes[:, ::2] = (250, 200, 40)
    return [
        Image.new("RGB", (width, height), "grey"),
        Image.fromarray(noise),
        Image.linear_gradient("L").resize((width, height)).convert("RGB"),
        Image.fromarray(stripes),
    ]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.:')}" if lines else type(error).__name__
