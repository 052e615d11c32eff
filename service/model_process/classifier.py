"""Classify images with a loaded model. Knows nothing of HTTP."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import timm
import torch
from PIL import Image
from timm.data.config import resolve_model_data_config
from torch import Tensor

from ait.interpret.embedding import embed, embed_and_classify
from ait.interpret.exemplars import ExemplarError, Exemplars, load_exemplars
from ait_lite.checkpoint import WEIGHTS, read_temperature
from ait_lite.corrections import load_corrections
from ait_lite.crop import Cropping
from service.machine import available_processors
from service.model_process.mixed_batch import MixedBatch, split
from service.model_process.weights import check_stored_types
from service.repository.folders import ModelError, ModelFolder, label_names
from service.scores import Labels, best_labels, softmax

logger = logging.getLogger(__name__)

SAME = 1e-6  # of the largest logit: answers that differ by no more are the same but for rounding


class Classifier:
    """One model on one device, ready to answer.

    Attributes:
        folder: Where it came from.
        labels: Class names, by index.
        input_size: (channels, height, width) of a prepared image.
        prepare: RGB image of any size -> uint8 array of that shape.
        num_features: Length of a feature vector; 0 if the model gives none.
        temperature: What logits are divided by for probabilities; None if the checkpoint carries none.
        corrections: Answers to single images that logits follow; None if the checkpoint carries none.
        data_config: What `timm.data.resolve_model_data_config` says, with statistics one a channel.
    """

    def __init__(self, folder: ModelFolder, *, device: str = "auto", max_batch: int = 32) -> None:
        """Load the weights and run the model once.

        Raises:
            ModelError: The folder is damaged, or is not that of an image classifier.
        """
        self.folder = folder
        self.max_batch = max_batch
        try:
            self.device = torch.device(_pick_device(device))
            model: Any = timm.create_model(f"local-dir:{folder.path}", pretrained=True)
            check_stored_types(folder.path / WEIGHTS, model)
            self.model = model.to(self.device).eval()
            self.labels = label_names(folder, model.num_classes)
            self.data_config = _data_config(model)
            self.prepare = Cropping(self.data_config)
            self.input_size = self.prepare.input_size
            self._mean = torch.tensor(self.data_config["mean"], device=self.device).view(-1, 1, 1)
            self._std = torch.tensor(self.data_config["std"], device=self.device).view(-1, 1, 1)
            self.temperature = read_temperature(folder.config)
            self.corrections = load_corrections(folder.path)
        except ModelError:
            raise
        except Exception as error:  # whatever a damaged file makes timm, safetensors or torch raise
            raise ModelError(
                f"The model in {folder.path} cannot be loaded: {_first_line(error)}. Export it again, or "
                "choose another model."
            ) from error
        self._warm_up()

    @cached_property
    def exemplars(self) -> Exemplars | None:
        """Training images to explain answers by; None if the checkpoint has none that can be used."""
        try:
            return load_exemplars(self.folder.path)
        except ExemplarError as error:  # a model that cannot show examples still answers
            logger.warning("%s", error)
            return None

    def batch(self, inputs: Sequence[np.ndarray]) -> Tensor:
        """Assemble arrays of shape `input_size`, uint8 or normalised float32, on the device: (B, C, H, W)."""
        return self.assemble(split(inputs))

    def assemble(self, parts: MixedBatch) -> Tensor:
        """Put a batch together on the device: (P + F, C, H, W), float32, normalised."""
        tensors = [torch.from_numpy(part).to(self.device) for part in (parts.images, parts.pixels) if part is not None]
        if parts.images is not None:  # normalised where the model is: bytes are a quarter of what floats are
            tensors[0] = tensors[0].to(torch.float32).div_(255).sub_(self._mean).div_(self._std)
        if len(tensors) == 1:
            return tensors[0]
        taken = set(parts.pixel_places)
        others = [place for place in range(len(tensors[0]) + len(tensors[1])) if place not in taken]
        batch = tensors[0].new_empty(len(others) + len(taken), *self.input_size)
        batch[others], batch[parts.pixel_places] = tensors
        return batch

    @torch.inference_mode()
    def logits(self, batch: Tensor) -> Tensor:
        """Compute logits of (B, C, H, W): (B, num_classes), float32 on the CPU."""
        parts = torch.split(batch, self.max_batch)
        if self.corrections is None:
            return torch.cat([self.model(part).float() for part in parts]).cpu()
        answers = [embed_and_classify(self.model, part) for part in parts]
        features, logits = (torch.cat(columns).cpu().numpy() for columns in zip(*answers, strict=True))
        return torch.from_numpy(self.corrections.apply(features, logits).logits)

    @torch.inference_mode()
    def features(self, batch: Tensor) -> Tensor:
        """Compute the vectors of `ait.interpret.embedding` of (B, C, H, W): (B, num_features), float32 on the CPU."""
        return torch.cat([embed(self.model, part) for part in torch.split(batch, self.max_batch)]).cpu()

    def scores(self, inputs: Sequence[np.ndarray]) -> np.ndarray:
        """Compute class probabilities of arrays as for `batch`: float32 (B, num_classes)."""
        return softmax(self.logits(self.batch(inputs)).numpy(), self.temperature)

    def label(self, scores: np.ndarray, top_k: int) -> list[Labels]:
        """Label the `top_k` best classes of each row of (B, num_classes); more than there are classes means all."""
        return best_labels(scores, self.labels, top_k)

    def classify(self, images: Sequence[Image.Image], top_k: int = 5) -> list[Labels]:
        """Label RGB images, in their order."""
        if not images:
            return []
        return self.label(self.scores([self.prepare(image) for image in images]), top_k)

    def _warm_up(self) -> None:
        _, height, width = self.input_size
        try:
            # One at a time: larger batches are tried, and named where they fail, by whoever chooses their size.
            made = [self.prepare(image) for image in _made_images(width, height)]
            logits = np.concatenate([self.logits(self.batch([each])).numpy() for each in made])
            scores = softmax(logits, self.temperature)
        except Exception as error:  # a model that is no image classifier can fail in any way
            raise ModelError(
                f"The model in {self.folder.path} ({self.folder.architecture}) does not take images of "
                f"{width} x {height} pixels: {_first_line(error)}. Choose an image classifier."
            ) from error
        if scores.ndim != 2 or scores.shape[1] != len(self.labels) or not self.labels:
            raise ModelError(
                f"The model in {self.folder.path} ({self.folder.architecture}) is not a classifier. "
                "Choose one with num_classes of at least 1."
            )
        try:
            self.num_features = self.features(self.batch([np.zeros(self.input_size, np.uint8)])).shape[1]
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


def use_threads(count: int) -> None:
    """Set how many threads a forward pass takes; 0 is the processors this process may use."""
    torch.set_num_threads(count or available_processors())


def _pick_device(device: str) -> str:
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _data_config(model: Any) -> dict[str, Any]:
    resolve: Callable[..., dict[str, Any]] = resolve_model_data_config  # timm has no types
    config = resolve(model)
    channels = config["input_size"][0]
    if channels not in (1, 3):
        raise ValueError(f"it takes {channels} channels, and only grey and RGB can be served")
    for key in ("mean", "std"):  # RGB statistics on a grey model would broadcast to three channels
        values = config[key]
        if len(values) != channels:
            config[key] = (sum(values) / len(values),) * channels
    return config


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.:')}" if lines else type(error).__name__
