"""Score a run's model on its validation images between two epochs."""

import math
from contextlib import closing

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn import functional as F

from ait.collectives import broadcast_first
from training import sharding
from training.data import Preprocessing
from training.evaluation.memory_health import memory_columns, memory_sample
from training.evaluation.multi_label import mean_average_precision
from training.evaluation.scoring import predict_all, score, shard
from training.run.images import RunImages
from training.step.update import Update
from training.storage.history import Row

_EFFECT = "memory/effect/"


class Validation:
    """Score the model and the averaged weights on every validation image, each image by one process.

    Args:
        update: Holds the model and the average.
        images: The run's.
        preprocessing: What the images go through.
        accelerator: Device and processes.
    """

    def __init__(
        self, update: Update, images: RunImages, preprocessing: Preprocessing, accelerator: Accelerator
    ) -> None:
        self._update = update
        self._images = images
        self._preprocessing = preprocessing
        self._accelerator = accelerator

    def __call__(self) -> Row:
        """Score the weights as they are now; all processes call this together.

        Returns:
            ``val_loss`` and ``val_acc`` (``val_map``, mean average precision, where an image has any number of
            classes), the same of the averaged weights with ``ema_`` before them, and the
            columns of the memory's health. A loss may be infinite or NaN.
        """
        learned, learner = self._update.learned, self._update.learner
        if self._accelerator.num_processes > 1:
            # Each process has its own running statistics of batch norms; those of the first are kept and scored.
            for buffer in learned.model.buffers():
                broadcast_first(buffer)
        row: Row = {}
        if learned.average is not None:
            with learned.average.applied(learned.model), sharding.whole(learner):
                row = {f"ema_{name}": value for name, value in self._score().items()}
        with sharding.whole(learner):
            row = self._score() | row
            # Of weights that are broken nothing more can be said.
            if math.isfinite(row["val_loss"]):
                chosen, device = memory_sample(len(self._images.validation)), self._accelerator.device
                inputs = self._preprocessing.normalise(self._images.validation_images(chosen).to(device))
                columns = memory_columns(learned.model, inputs, self._images.validation.labels[chosen].to(device))
                # What answers lose without a memory is counted in images with one class each.
                one = self._images.validation.targets is None
                row |= {name: value for name, value in columns.items() if one or not name.startswith(_EFFECT)}
        return row

    def _score(self) -> Row:
        """Compute loss and accuracy with the weights that the model has now."""
        accelerator, count = self._accelerator, len(self._images.validation)
        targets = self._images.validation.targets
        if targets is not None:
            return self._score_multi_label(targets)
        mine = shard(count, accelerator.process_index, accelerator.num_processes)
        labels = self._images.validation.labels[mine]
        with closing(self._images.validation_batches(mine)) as batches:
            sums = score(self._update.learned.model, batches, labels, self._preprocessing, accelerator.device)
        loss, correct = (value / count for value in accelerator.reduce(sums, "sum").tolist())
        return {"val_loss": loss, "val_acc": correct}

    def _score_multi_label(self, targets: Tensor) -> Row:
        """Compute loss and mean average precision; every process scores all images, for ranks are of all."""
        with closing(self._images.validation_batches(torch.arange(len(targets)))) as batches:
            logits = predict_all(self._update.learned.model, batches, self._preprocessing, self._accelerator.device)
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        return {"val_loss": float(loss), "val_map": mean_average_precision(logits, targets)}
