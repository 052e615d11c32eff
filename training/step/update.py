"""Update a model: gradients over parts and processes, their limit, the optimiser, the averaged weights."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training import sharding
from training.model.learner import Learner
from training.recipe.keys import UpdateSettings
from training.step.average import WeightAverage
from training.step.distillation import Teacher, distillation_losses
from training.step.learned import Learned
from training.step.loss import sample_losses
from training.step.optimiser import create_optimizer, float32_newton_schulz


class UpdateResult(NamedTuple):
    """The figures of one update, on the training device.

    Attributes:
        loss: Of the update's images that this process has, a scalar.
        sums: (3,) float32: this process's sums over images of the loss, balance loss and correct answers.
    """

    loss: Tensor
    sums: Tensor


class Update:
    """Change a model by batches that are ready for it.

    Args:
        settings: How (`training.recipe.keys.Recipe.update`).
        model: On its device. With ``sharding=full`` its parameters are spread over the processes.
        accelerator: Device, precision and processes.
        class_weights: (classes,) factors of the loss, or None.
        teacher: Gives soft targets, or None.

    Attributes:
        learner: The model as it is called.
        learned: All that an update changes.

    Raises:
        RecipeError: The optimiser cannot be made.
    """

    def __init__(
        self,
        settings: UpdateSettings,
        model: nn.Module,
        accelerator: Accelerator,
        class_weights: Tensor | None,
        teacher: Teacher | None = None,
    ) -> None:
        self._settings = settings
        self._teacher = teacher
        self._accelerator = accelerator
        self._class_weights = class_weights
        learner: Any = Learner(model)
        # With one process there is nobody to share with.
        self._sharded = settings.sharding == "full" and accelerator.num_processes > 1
        if self._sharded:
            sharding.shard(learner)
        optimizer = create_optimizer(model, settings.optimizer)
        average = None if settings.ema_decay is None else WeightAverage(model, settings.ema_decay)
        if settings.compile:
            learner = torch.compile(learner)
        self.learner: Any = learner if self._sharded else accelerator.prepare(learner)
        self._optimizer = accelerator.prepare(optimizer)
        self.learned = Learned(model, optimizer, average, accelerator.scaler)

    def __call__(
        self, inputs: Tensor, targets: Tensor, batch_size: int, step: int, weights: Tensor | None = None
    ) -> UpdateResult:
        """Update the model once.

        Args:
            inputs: This process's images, (B, C, H, W) float32.
            targets: Their labels (B,), or probabilities (B, classes), of which more than one may be 1.
            batch_size: Images of the update, over all processes.
            step: Updates before this one.
            weights: How much each image counts in the loss, (B,) float32 around 1; None counts all alike.
        """
        settings, accelerator = self._settings, self._accelerator
        losses, sums = [], torch.zeros(3, device=accelerator.device)
        # All processes go through as many parts, for they meet in each: the last process may have an empty one.
        parts = min(settings.accumulate, -(-batch_size // accelerator.num_processes))
        bounds = [len(inputs) * number // parts for number in range(parts + 1)]
        for number in range(parts):
            rows = slice(bounds[number], bounds[number + 1])
            # Gradients travel between processes once per update.
            last = number + 1 == parts
            with nullcontext() if last else self._gradients_stay():
                loss, part_sums = self._gradient(
                    inputs[rows],
                    targets[rows],
                    None if weights is None else weights[rows],
                    batch_size,
                    1 / parts,
                )
            losses.append(loss)
            sums += part_sums
        if settings.clip_grad is not None:
            accelerator.clip_grad_norm_(self.learner.parameters(), settings.clip_grad)
        with float32_newton_schulz() if accelerator.device.type == "cpu" else nullcontext():
            self._optimizer.step()
        self._optimizer.zero_grad()
        if self.learned.average is not None:
            self.learned.average.update(self.learned.model, step=step + 1)
        return UpdateResult(torch.stack(losses).sum(), sums)

    def _gradients_stay(self) -> AbstractContextManager[None]:
        return sharding.gradients_stay(self.learner) if self._sharded else self._accelerator.no_sync(self.learner)

    def _gradient(
        self, inputs: Tensor, targets: Tensor, weights: Tensor | None, batch_size: int, balance_share: float
    ) -> UpdateResult:
        """Add the gradient of some of a batch's images to what is there.

        Args:
            inputs: (B, C, H, W) float32.
            targets: (B,) labels or (B, classes) probabilities.
            weights: (B,) factors of the images' losses, or None.
            batch_size: Images of the update, over all processes and parts.
            balance_share: Weight of the balance loss, which each of an update's parts has.
        """
        settings = self._settings
        # For a learner that accelerate wrapped this changes nothing.
        with self._accelerator.autocast():
            logits, balance = self.learner(inputs)
            taught = None if self._teacher is None else self._teacher(inputs)
        logits = logits.float()
        losses = sample_losses(logits, targets, settings.loss, settings.label_smoothing, self._class_weights)
        if taught is not None:
            share = settings.distil.weight
            losses = (1 - share) * losses + share * distillation_losses(logits, taught, settings.distil.temperature)
        total = losses.sum() if weights is None else (losses * weights).sum()
        # Processes average their gradients, and in a last, partial batch their shares may differ.
        loss = total * (self._accelerator.num_processes / batch_size)
        loss = loss + settings.balance_weight * balance_share * balance
        self._accelerator.backward(loss)
        with torch.no_grad():
            correct = _correct(logits, targets, settings.multi_label)
            sums = torch.stack([total.detach(), balance.detach() * len(targets), correct])
        return UpdateResult(loss.detach(), sums)


def _correct(logits: Tensor, targets: Tensor, multi_label: bool) -> Tensor:
    """Count right answers, a float32 scalar; of several classes an image, the share that is right."""
    if multi_label:
        return ((logits > 0) == (targets > 0.5)).float().mean(dim=1).sum()
    labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
    return (logits.argmax(dim=1) == labels).sum().float()
