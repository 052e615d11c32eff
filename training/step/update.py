"""One update: gradients over parts and processes, their limit, the optimiser, the averaged weights."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training import sharding
from training.model.learner import Learner
from training.recipe.keys import Recipe
from training.run.state import Learned
from training.step.average import WeightAverage
from training.step.loss import sample_losses
from training.step.optimiser import create_optimizer, float32_newton_schulz


class Update:
    """Changes a model by batches that are ready for it.

    Args:
        recipe: How.
        model: On its device. With ``sharding=full`` its parameters are spread over the processes.
        accelerator: Device, precision and processes.
        class_weights: (classes,) factors of the loss, or None.

    Attributes:
        learner: The model as it is called.
        learned: All that an update changes.
    """

    def __init__(
        self, recipe: Recipe, model: nn.Module, accelerator: Accelerator, class_weights: Tensor | None
    ) -> None:
        self._recipe = recipe
        self._accelerator = accelerator
        self._class_weights = class_weights
        learner: Any = Learner(model)
        # With one process there is nobody to share with.
        self._sharded = recipe.sharding == "full" and accelerator.num_processes > 1
        if self._sharded:
            sharding.shard(learner)
        optimizer = create_optimizer(model, recipe.optimizer)
        average = None if recipe.ema_decay is None else WeightAverage(model, recipe.ema_decay)
        if recipe.compile:
            learner = torch.compile(learner)
        self.learner: Any = learner if self._sharded else accelerator.prepare(learner)
        self._optimizer = accelerator.prepare(optimizer)
        self.learned = Learned(model, optimizer, average, accelerator.scaler)

    def __call__(self, inputs: Tensor, targets: Tensor, batch_size: int, step: int) -> tuple[Tensor, Tensor]:
        """One update.

        Args:
            inputs: This process's images, (B, C, H, W) float32.
            targets: Their labels (B,), or probabilities (B, classes).
            batch_size: Images of the update, over all processes.
            step: Updates before this one.

        Returns:
            The loss, and this process's sums of cross-entropy, balance loss and correct answers.
        """
        recipe, accelerator = self._recipe, self._accelerator
        losses, counts = [], torch.zeros(3, device=accelerator.device)
        # All processes go through as many parts, for they meet in each: the last process may have an empty one.
        parts = min(recipe.accumulate, -(-batch_size // accelerator.num_processes))
        bounds = [len(inputs) * number // parts for number in range(parts + 1)]
        for number in range(parts):
            rows = slice(bounds[number], bounds[number + 1])
            # Gradients travel between processes once an update.
            last = number + 1 == parts
            with nullcontext() if last else self._gradients_stay():
                loss, part_counts = self._gradient(inputs[rows], targets[rows], batch_size, 1 / parts)
            losses.append(loss)
            counts += part_counts
        if recipe.clip_grad is not None:
            accelerator.clip_grad_norm_(self.learner.parameters(), recipe.clip_grad)
        with float32_newton_schulz() if accelerator.device.type == "cpu" else nullcontext():
            self._optimizer.step()
        self._optimizer.zero_grad()
        if self.learned.average is not None:
            self.learned.average.update(self.learned.model, step=step + 1)
        return torch.stack(losses).sum(), counts

    def _gradients_stay(self) -> AbstractContextManager[None]:
        return sharding.gradients_stay(self.learner) if self._sharded else self._accelerator.no_sync(self.learner)

    def _gradient(
        self, inputs: Tensor, targets: Tensor, batch_size: int, balance_share: float
    ) -> tuple[Tensor, Tensor]:
        """Add the gradient of some of a batch's images to what is there.

        Args:
            inputs: (B, C, H, W) float32.
            targets: (B,) labels or (B, classes) probabilities.
            batch_size: Images of the update, over all processes and parts.
            balance_share: Weight of the balance loss, which each of an update's parts has.

        Returns:
            The loss, and sums of cross-entropy, balance loss and correct answers.
        """
        recipe = self._recipe
        # For a learner that accelerate wrapped this changes nothing.
        with self._accelerator.autocast():
            logits, balance = self.learner(inputs)
        logits = logits.float()
        total = sample_losses(logits, targets, recipe.loss, recipe.label_smoothing, self._class_weights).sum()
        # Processes average their gradients, and in a last, partial batch their shares may differ.
        loss = total * (self._accelerator.num_processes / batch_size)
        loss = loss + recipe.balance_weight * balance_share * balance
        self._accelerator.backward(loss)
        with torch.no_grad():
            labels = targets if targets.ndim == 1 else targets.argmax(dim=1)
            correct = (logits.argmax(dim=1) == labels).sum()
            return loss.detach(), torch.stack([total.detach(), balance.detach() * len(labels), correct.float()])
