"""The training loop: from a recipe to checkpoints, metrics and curves."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list
from rich.console import Console
from torch import Tensor

from training.data import dead_workers_named
from training.errors import OutputError, TrainingInterrupted
from training.model.freezing import set_training
from training.recipe.keys import Recipe
from training.run.accelerator import create_accelerator, fastest_products
from training.run.closed_form import solve_run
from training.run.finiteness import FinitenessCheck
from training.run.interruption import Interruption
from training.run.output import state
from training.run.output.folder import RunFolder, accuracy, is_better
from training.run.output.lock import RunLock
from training.run.output.state import Choices, Position
from training.run.output.tracking import Trackers, check_trackers
from training.run.output.writer import RunWriter
from training.run.preparation import prepare
from training.run.progress import EpochProgress
from training.storage.history import Row

# A loss is looked at as often as that is free: reading it from an accelerator waits for the step to end.
_STEPS_BETWEEN_CHECKS = 20


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a finished run.

    Attributes:
        output: The run's folder.
        checkpoint: timm ``local-dir`` folder of the best model.
        best_epoch: Its epoch, counted from 1.
        best_accuracy: Its validation accuracy, a share of 1.
        history: One row of metrics per epoch.
    """

    output: Path
    checkpoint: Path
    best_epoch: int
    best_accuracy: float
    history: list[Row] = field(repr=False)


def train(
    recipe: Recipe,
    resume: bool = False,
    console: Console | None = None,
    after_epoch: Callable[[Row], None] | None = None,
) -> TrainingResult:
    """Train a model, or continue training it.

    The result on a CPU does not depend on how often the run was killed and resumed, wherever in an epoch.

    Args:
        recipe: What to train, on what, how.
        resume: Continue from the last checkpoint in ``recipe.output`` (from the start if there is none).
        console: Where progress goes; None is the standard error stream.
        after_epoch: Told the metrics of every epoch, once its checkpoint is written; what it raises ends the run.

    Raises:
        OutputError: The output folder holds files, and `resume` is not set; or another run is at work in it, or it
            cannot be written to.
        RecipeError: The model, optimiser or schedule cannot be made.
        DataError: The data folder cannot be used, or a process that loads images was killed.
        CheckpointError: The checkpoint is torn, or of another recipe.
        NonFiniteLossError: The loss became NaN or infinite; the last checkpoint is intact.
        TrainingInterrupted: SIGINT or SIGTERM arrived; a checkpoint of the last step was written.
    """
    accelerator = create_accelerator(recipe.device, recipe.precision)
    console = console or Console(stderr=True)
    if not accelerator.is_main_process:
        console = Console(quiet=True)
    with Interruption() as interruption, ExitStack() as claimed:
        with interruption.at_once("stopped before the first step"):
            check_trackers(recipe.tracking)
            claimed.enter_context(_claimed(recipe.output, resume, accelerator))
            chosen = state.read_choices(RunFolder(recipe.output).state) if resume else Choices()
            claimed.enter_context(fastest_products(accelerator, chosen.products))
        if recipe.method == "closed_form":
            return _result(recipe, solve_run(recipe, accelerator, console, interruption))
        with interruption.at_once("stopped before the first step"):
            trainer = Trainer(recipe, accelerator, console, interruption, chosen.img_size)
        trainer.open_output(resume)
        # One process writes; the others have nothing to track.
        trackers = recipe.tracking if accelerator.is_main_process else []
        settings = recipe.model_dump(mode="json")
        with Trackers(trackers, recipe.output, settings, step=trainer.position.step) as tracked, dead_workers_named():
            return trainer.run(tracked, after_epoch)


@contextmanager
def _claimed(output: Path, resume: bool, accelerator: Accelerator) -> Iterator[None]:
    """Keep other runs out of the output folder; all processes call this together, and all or none goes on.

    Raises:
        OutputError: The folder is not this run's to write to.
    """
    RunFolder(output).check(resume)
    # Nobody writes before everybody has looked.
    accelerator.wait_for_everyone()
    with ExitStack() as lock:
        refusal: OutputError | None = None
        if accelerator.is_main_process:
            try:
                lock.enter_context(RunLock(output))
            except OutputError as error:
                refusal = error
        told = broadcast_object_list([refusal and str(refusal)])
        if told[0] is not None:
            raise refusal or OutputError(told[0])
        yield


class EpochRows(NamedTuple):
    """The figures of one epoch of training.

    Attributes:
        metrics: The same for every run of the recipe.
        timing: Seconds and images per second, which are not.
    """

    metrics: Row
    timing: Row


class Trainer:
    """One run in progress; `train` is its use.

    Args:
        recipe: What to train.
        accelerator: Device, precision and processes.
        console: Where progress goes.
        interruption: Asked between steps whether to stop.
        img_size: Side of the images in pixels that the run has chosen before; 0 lets it choose.

    Attributes:
        position: How far the run is.

    Raises:
        RecipeError: The model, optimiser or schedule cannot be made.
        DataError: The data folder cannot be used.
        CheckpointError: The checkpoint that fine-tuning starts from cannot be used.
    """

    def __init__(
        self,
        recipe: Recipe,
        accelerator: Accelerator,
        console: Console,
        interruption: Interruption,
        img_size: int = 0,
    ) -> None:
        self._recipe = recipe
        self._accelerator = accelerator
        self._console = console
        self._interruption = interruption
        self._folder = RunFolder(recipe.output)
        self.position = Position()
        self._parts = parts = prepare(recipe, accelerator, console, img_size)
        self._images = parts.images
        self._model = parts.model
        self._learned = parts.update.learned
        self._writer = RunWriter(self._folder, recipe, parts.images, parts.preprocessing, parts.architecture)
        self._check = FinitenessCheck(_remedies(recipe), recipe.output)

    def open_output(self, resume: bool) -> None:
        """Set up the output folder, or load what an earlier run left there.

        Args:
            resume: True continues the run in the folder, if there is one.

        Raises:
            OutputError: The folder cannot be written to.
            CheckpointError: The state there is torn, or of another recipe.
        """
        if self._accelerator.is_main_process:
            self._writer.create()
        self._accelerator.wait_for_everyone()
        if resume and self._folder.state.exists():
            settings, images = self._recipe.model_dump(mode="json"), self._images
            self.position = state.load(self._folder.state, self._learned, settings, images.training, images.validation)
            epoch, epochs = self.position.epoch, self._recipe.epochs
            whole = f"nothing is left to train: {epoch} of {epochs} epochs are done"
            self._console.print(whole if epoch >= epochs else f"continuing after {self._done()}")
        elif resume:
            self._console.print(f"no checkpoint in {self._folder.path} yet: starting from the beginning")
        self.position.products = torch.get_float32_matmul_precision()
        self.position.img_size = self._parts.preprocessing.input_size[-1]
        if self._accelerator.is_main_process:
            self._writer.describe(self.position)

    def run(self, trackers: Trackers, after_epoch: Callable[[Row], None] | None = None) -> TrainingResult:
        """Train the epochs that are left, then report on the best model.

        Args:
            trackers: Told the metrics of every epoch.
            after_epoch: Likewise, once its checkpoint is written.

        Raises:
            OutputError: The folder cannot be written to.
            NonFiniteLossError: The loss became NaN or infinite.
            TrainingInterrupted: A signal arrived; a checkpoint of the last step was written.
        """
        position, device = self.position, self._accelerator.device
        parameters = sum(parameter.numel() for parameter in self._model.parameters())
        self._console.print(
            f"{self._recipe.model.name}: {parameters / 1e6:.2f}M parameters, {len(self._images)} training and "
            f"{len(self._images.validation)} validation images, {len(self._images.training.classes)} classes, "
            f"on {device}",
            soft_wrap=True,
        )
        while position.epoch < self._recipe.epochs and not self._exhausted():
            row, timing = self._train_epoch()
            if (position.epoch + 1) % self._recipe.evaluate_every == 0 or position.epoch + 1 == self._recipe.epochs:
                row |= self._parts.validation()
                self._check.validation(row, position)
            position.epoch, position.batch, position.sums = position.epoch + 1, 0, [0.0, 0.0, 0.0]
            position.history.append(row)
            position.timings.append(timing)
            # Before the checkpoint, so that a kill between the two loses no row.
            trackers.log(row)
            self._keep(row)
            self._console.print(_summary(row, timing, self._recipe.epochs), highlight=False, soft_wrap=True)
            if after_epoch is not None:
                after_epoch(row)
            self._stop_if_asked(None)
        self._console.print(
            f"best: epoch {position.best_epoch}, "
            + (
                f"mean average precision {position.best_accuracy:.2%} on the validation images; "
                if self._recipe.multi_label
                else f"{position.best_accuracy:.2%} of the validation images right; "
            )
            + f"{self._folder.best}",
            soft_wrap=True,
        )
        if self._accelerator.is_main_process:
            page = self._writer.report(position, device)
            self._console.print(f"report: {page}", soft_wrap=True)
        return _result(self._recipe, position)

    def _exhausted(self) -> bool:
        """Return True if as many validations as the recipe's patience have brought no better model."""
        patience, position = self._recipe.patience, self.position
        if patience is None or not position.best_epoch:
            return False
        later = [row for row in position.history if row["epoch"] > position.best_epoch and accuracy(row) is not None]
        return len(later) >= patience

    def _train_epoch(self) -> EpochRows:
        """Visit every training image that the epoch has left."""
        recipe, position, device = self._recipe, self.position, self._accelerator.device
        started, start_batch = time.perf_counter(), position.batch
        order = self._images.order(position.epoch)
        set_training(self._model, recipe.freeze_batch_norm)
        # Every process adds its share to sums that start with what was there at the last checkpoint.
        sums = torch.tensor(position.sums, device=device) * self._accelerator.is_main_process
        unchecked: list[Tensor] = []
        learning_rate = 0.0
        with (
            EpochProgress(
                self._console, position.epoch + 1, recipe.epochs, len(self._images), start_batch * recipe.batch_size
            ) as progress,
            closing(self._images.batches(order, position.epoch, self._parts.step.loaded_rows, start_batch)) as batches,
        ):
            for chosen, images in zip(order[start_batch:], batches, strict=True):
                self._parts.schedule.step_update(position.step)
                learning_rate = max(group["lr"] for group in self._learned.optimizer.param_groups)
                try:
                    result = self._parts.step(chosen, images, position.step)
                except RuntimeError:
                    # A signal to the whole group ends the compilers that the first step waits for, too. Of several
                    # processes the others may be well, and would not come to agree on a stop.
                    if recipe.compile and self._accelerator.num_processes == 1:
                        self._stop_if_asked(sums)
                    raise
                position.step += 1
                position.batch += 1
                sums += result.sums
                unchecked.append(result.loss)
                if device.type == "cpu" or len(unchecked) == _STEPS_BETWEEN_CHECKS:
                    self._check.losses(unchecked, position)
                    unchecked.clear()
                    self._show(progress, sums)
                last = position.batch == len(order)
                if recipe.checkpoint_every and position.step % recipe.checkpoint_every == 0 and not last:
                    self._save(sums)
                if not last:
                    self._stop_if_asked(sums)
        self._check.losses(unchecked, position)
        cross_entropy, balance, correct = (value / len(self._images) for value in self._total(sums))
        seconds = time.perf_counter() - started
        visited = len(self._images) - start_batch * recipe.batch_size
        row = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "lr": learning_rate,
            "train_loss": cross_entropy,
            "balance_loss": balance,
            "train_acc": correct,
        }
        timing = {"epoch": position.epoch + 1, "images_per_second": visited / seconds, "seconds": seconds}
        return EpochRows(row, timing)

    def _show(self, progress: EpochProgress, sums: Tensor) -> None:
        """Show how far the epoch is; loss and accuracy are those of this process's share of the images."""
        done = min(self.position.batch * self._recipe.batch_size, len(self._images))
        cross_entropy, _, correct = (value * self._accelerator.num_processes for value in sums.tolist())
        progress.update(done, cross_entropy / done, correct / done)

    def _total(self, sums: Tensor) -> list[float]:
        """Add up the sums of all processes."""
        total: list[float] = self._accelerator.reduce(sums, "sum").tolist()
        return total

    def _keep(self, row: Row) -> None:
        """Note whether the epoch is the best so far, and write its checkpoints, metrics and curves."""
        self._check.weights(self._model, self.position)
        position, found = self.position, accuracy(row)
        improved = is_better(
            row, next((each for each in position.history if each["epoch"] == position.best_epoch), None)
        )
        if found is not None and improved:
            position.best_accuracy, position.best_epoch = found, position.epoch
        snapshot = self._learned.snapshot()
        if self._accelerator.is_main_process:
            self._writer.keep_epoch(position, snapshot, improved)

    def _save(self, sums: Tensor) -> None:
        """Write a checkpoint within an epoch, of which `sums` is this process's share so far."""
        self._check.weights(self._model, self.position)
        self.position.sums = self._total(sums)
        snapshot = self._learned.snapshot()
        if self._accelerator.is_main_process:
            self._writer.save_state(self.position, snapshot)

    def _stop_if_asked(self, sums: Tensor | None) -> None:
        """End the run if a signal arrived, with its state on disk; no `sums` if it is there already."""
        position = self.position
        # Asking the other processes waits for them, so it is done now and then, by all at the same step.
        alone = self._accelerator.num_processes == 1
        if not alone and position.batch and position.step % _STEPS_BETWEEN_CHECKS:
            return
        number = self._interruption.agreed(self._accelerator)
        if number is None or position.epoch == self._recipe.epochs:
            return
        if sums is not None:
            self._save(sums)
        message = f"stopped after {self._done()}; continue with --resume auto in {self._folder.path}"
        best = self._folder.best
        if best.exists():
            calibrate = f"ait calibrate {best} IMAGES --only {self._folder.validation}"
            message += f". Until the run ends, {best} is not calibrated; `{calibrate}` does it now"
        raise TrainingInterrupted(number, message)

    def _done(self) -> str:
        position = self.position
        if position.batch:
            steps = self._images.steps_per_epoch
            return f"step {position.step}, {position.batch} of {steps} into epoch {position.epoch + 1}"
        return f"step {position.step}, the end of epoch {position.epoch} of {self._recipe.epochs}"


def _result(recipe: Recipe, position: Position) -> TrainingResult:
    folder = RunFolder(recipe.output)
    return TrainingResult(folder.path, folder.best, position.best_epoch, position.best_accuracy, position.history)


def _remedies(recipe: Recipe) -> list[str]:
    """List what to try where a loss is not finite."""
    remedies = [f"lower optimizer.lr (now {recipe.optimizer.lr:g})"]
    if recipe.clip_grad is None:
        remedies.append("limit gradients with clip_grad=1.0")
    if recipe.precision != "fp32":
        remedies.append("train with precision=fp32")
    return remedies


def _summary(row: Row, timing: Row, epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['train_loss']:.4f}", f"acc {row['train_acc']:.2%}"]
    for column, name in (("val_acc", "val"), ("ema_val_acc", "ema"), ("val_map", "mAP"), ("ema_val_map", "ema mAP")):
        if column in row:
            parts.append(f"{name} {row[column]:.2%}")
    parts.append(f"lr {row['lr']:.2e}")
    parts.append(f"{timing['images_per_second']:.0f} images/s, {timing['seconds']:.0f} s")
    return "  ".join(parts)
