"""One step of training, from the bytes of a batch to the update."""

import torch
from accelerate import Accelerator
from torch import Tensor

from training.data import BatchTransform
from training.data.augment.batch import Share
from training.seeds import stream, stream_seed
from training.step.update import Update, UpdateResult


class TrainingStep:
    """Augment this process's share of a batch and update the model by it.

    Args:
        update: What is done with the inputs.
        transform: Makes inputs and targets of bytes and labels.
        labels: (N,) int64, of all training images; or (N, classes) float32, 1 for each class that one has.
        accelerator: Device, and which of how many processes this is.
        seed: The recipe's.
        weights: (N,) float32, how much each of them counts in the loss; None where all count alike.
    """

    def __init__(
        self,
        update: Update,
        transform: BatchTransform,
        labels: Tensor,
        accelerator: Accelerator,
        seed: int,
        weights: Tensor | None = None,
    ) -> None:
        self._update = update
        self._transform = transform
        self._labels = labels
        self._accelerator = accelerator
        self._seed = seed
        self._weights = weights

    def __call__(self, chosen: Tensor, images: Tensor, step: int) -> UpdateResult:
        """Take one step; it is a function of the model and the arguments, so a run can go on from any.

        Args:
            chosen: Positions of the batch's images among all, (B,) int64, of all processes.
            images: Those of `loaded_rows`, (rows, C, H, W) uint8.
            step: Updates before this one.
        """
        device = self._accelerator.device
        draws = self._transform.sample(len(chosen), stream(self._seed, step, "augmentation"))
        # Dropout and stochastic depth draw from the global generators.
        torch.manual_seed(stream_seed(self._seed, step, f"model {self._accelerator.process_index}"))
        share = self._share(len(chosen))
        labels = self._labels[chosen[share.loaded]].to(device, non_blocking=True)
        inputs, targets = self._transform.apply(images.to(device, non_blocking=True), labels, draws, share)
        weights = None
        if self._weights is not None:
            loaded = self._weights[chosen[share.loaded]].to(device, non_blocking=True)
            weights = self._transform.mix_weights(loaded, draws, share)
        return self._update(inputs, targets, len(chosen), step, weights)

    def loaded_rows(self, count: int) -> Tensor:
        """List the rows, (n,) int64, that this process loads of a batch of `count` images."""
        return self._share(count).loaded

    def _share(self, count: int) -> Share:
        rows = torch.arange(count)[self._accelerator.process_index :: self._accelerator.num_processes]
        return self._transform.share(count, rows)
