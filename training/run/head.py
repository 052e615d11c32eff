"""Solve for a model's head in closed form, on the training images of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
from torch import nn

from ait_lite.user_cache import writable_cache
from training.data import Preprocessing
from training.errors import OutputError
from training.evaluation.backbone import Backbone
from training.evaluation.calibration import Calibration, calibrate
from training.evaluation.features import Take, features_of
from training.model.ridge_head import RidgeHead, linear_head, set_head, solve_head
from training.run.images import RunImages

# Scores lie between 0 and 1; so much larger they are logits about as sure as they should be. The temperature does the
# rest.
_SHARPNESS = 10.0


class SolvedHead(NamedTuple):
    """A head that a model was given.

    Attributes:
        head: Its logits are calibrated by what they are of images that were left out.
        calibration: How well.
        features: What it reads of the training images, (N, D) float32.
    """

    head: RidgeHead
    calibration: Calibration
    features: torch.Tensor


class Features:
    """Compute features of a run's images, once; a signal loses at most the latest few hundred.

    Args:
        model: On `device`, with a linear head.
        preprocessing: What images go through.
        device: Where to compute.
        cache: The recipe's ``data.cache``; None is the user's cache folder.
        console: Where progress goes.
        folder: The checkpoint that the model was loaded from, where there may be a faster graph; or None.
        model_args: The recipe's ``model.args``.
    """

    def __init__(
        self,
        model: nn.Module,
        preprocessing: Preprocessing,
        device: torch.device,
        cache: Path | None,
        console: Console,
        folder: Path | None = None,
        model_args: Mapping[str, Any] | None = None,
    ) -> None:
        linear_head(model)
        self._model, self._preprocessing, self._console = model, preprocessing, console
        self._backbone = Backbone(model, device, folder)
        self._cache = cache / "features" if cache else _default_cache()
        self._model_args = model_args

    def __call__(self, take: Take, count: int, title: str) -> torch.Tensor:
        """Compute what the head reads of the images that `take` gives, (count, D) float32.

        Raises:
            OutputError: The cache folder cannot be written to.
        """
        try:
            return features_of(
                self._model,
                self._backbone,
                take,
                count,
                self._preprocessing,
                self._cache,
                self._console,
                title,
                self._model_args,
            )
        except OSError as error:
            raise OutputError(
                f"cannot write features to {self._cache} ({error}); set data.cache to another folder"
            ) from error


def _default_cache() -> Path:
    try:
        return writable_cache("features")
    except OSError as error:
        raise OutputError(f"features cannot be kept: {error}; name a folder with data.cache=FOLDER") from error


def fit_head(model: nn.Module, features: Features, images: RunImages, seed: int) -> SolvedHead:
    """Give a model the head that its features of the training images ask for.

    Args:
        model: Changed in place.
        features: Of this model.
        images: The run's.
        seed: Which images judge the regularisation, where there are many.

    Raises:
        OutputError: The cache folder cannot be written to.
    """
    read = features(images.training_images, len(images), "features")
    head = solve_head(read, images.labels, len(images.training.classes), seed).scaled(_SHARPNESS)
    head = head.scaled(1 / calibrate(head.left_out, images.labels).temperature)
    set_head(model, head)
    return SolvedHead(head, calibrate(head.left_out, images.labels), read)
