"""The training loop: from a recipe to checkpoints, metrics and curves."""

import copy
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from training import sharding
from training.data import BatchTransform, Preprocessing, open_splits
from training.data.augment.batch import Share
from training.errors import NonFiniteLossError, TrainingInterrupted
from training.evaluation.memory_health import memory_columns, memory_sample
from training.evaluation.scoring import score, shard
from training.model.learner import create_model, enable_grad_checkpointing
from training.model.mimetic import mimetic_attention
from training.model.whitening import whiten_patch_embedding
from training.recipe.keys import Recipe
from training.run import state
from training.run.accelerator import create_accelerator
from training.run.folder import Row, RunFolder, accuracy
from training.run.images import RunImages
from training.run.interruption import Interruption
from training.run.progress import EpochProgress
from training.run.state import Position
from training.run.tracking import Trackers, check_trackers
from training.run.writer import RunWriter
from training.seeds import stream, stream_seed
from training.step.optimiser import create_schedule
from training.step.update import Update

# A loss is looked at as often as that is free: reading it from an accelerator waits for the step to end.
_STEPS_BETWEEN_CHECKS = 20
_WHITENING_IMAGES = 4000


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run leaves.

    Attributes:
        output: The run's folder.
        checkpoint: timm ``local-dir`` folder of the best model.
        best_epoch: Its epoch, counted from 1.
        best_accuracy: Its validation accuracy, a share of 1.
        history: One row of metrics an epoch.
    """

    output: Path
    checkpoint: Path
    best_epoch: int
    best_accuracy: float
    history: list[Row] = field(repr=False)


def train(recipe: Recipe, resume: bool = False, console: Console | None = None) -> TrainingResult:
    """Train a model, or continue training it.

    The result on a CPU does not depend on how often the run was killed and resumed, wherever in an epoch.

    Args:
        recipe: What to train, on what, how.
        resume: Continue from the last checkpoint in ``recipe.output`` (from the start if there is none).
        console: Where progress goes; None is the standard error stream.

    Raises:
        OutputError: The output folder holds files, and `resume` is not set; or it cannot be written to.
        RecipeError: The model, optimiser or schedule cannot be made.
        DataError: The data folder cannot be used.
        CheckpointError: The checkpoint is torn, or of another recipe.
        NonFiniteLossError: The loss became NaN or infinite; the last checkpoint is intact.
        TrainingInterrupted: SIGINT or SIGTERM arrived; a checkpoint of the last step was written.
    """
    accelerator = create_accelerator(recipe)
    console = console or Console(stderr=True)
    if not accelerator.is_main_process:
        console = Console(quiet=True)
    with Interruption() as interruption:
        check_trackers(recipe.tracking)
        trainer = Trainer(recipe, accelerator, console, interruption)
        trainer.open_output(resume)
        # One process writes; the others have nothing to track.
        trackers = recipe.tracking if accelerator.is_main_process else []
        settings = recipe.model_dump(mode="json")
        with Trackers(trackers, recipe.output, settings, step=trainer.position.step) as tracked:
            return trainer.run(tracked)


class Trainer:
    """One run in progress; `train` is its use.

    Args:
        recipe: What to train.
        accelerator: Device, precision and processes.
        console: Where progress goes.
        interruption: Asked between steps whether to stop.
    """

    def __init__(self, recipe: Recipe, accelerator: Accelerator, console: Console, interruption: Interruption) -> None:
        self.recipe = recipe
        self.accelerator = accelerator
        self.console = console
        self.interruption = interruption
        self.device = accelerator.device
        self.folder = RunFolder(recipe.output)
        self.position = Position()

        training, validation = open_splits(recipe.data, recipe.seed)
        self.classes = training.classes
        torch.manual_seed(stream_seed(recipe.seed, 0, "model"))
        model = create_model(recipe.model, self.classes, console)
        self.preprocessing = Preprocessing.of_model(
            model,
            mean=recipe.data.mean,
            std=recipe.data.std,
            interpolation=recipe.data.interpolation,
            crop_pct=recipe.data.crop_pct,
        )
        with accelerator.main_process_first():
            self.images = RunImages(recipe, training, validation, self.preprocessing, self.device, console)
        self.transform = BatchTransform(recipe.augment, self.preprocessing, len(self.classes))
        if recipe.mimetic_attention:
            mimetic_attention(model, seed=recipe.seed)
        if recipe.patch_whitening:
            some = self.images.some(_WHITENING_IMAGES)
            whiten_patch_embedding(model, self.preprocessing.normalise(some.cpu()), seed=recipe.seed)

        if recipe.grad_checkpointing:
            enable_grad_checkpointing(model)
        self.writer = RunWriter(self.folder, recipe, self.images, self.preprocessing, copy.deepcopy(model).to("meta"))
        self.model = model.to(self.device)
        self.update = Update(recipe, self.model, accelerator, self.images.class_weights)
        self.learned = self.update.learned
        self.schedule = create_schedule(
            self.learned.optimizer, recipe.schedule, recipe.optimizer.lr, recipe.epochs, self.images.steps_per_epoch
        )

    def open_output(self, resume: bool) -> None:
        """Claim the output folder, or load what an earlier run left there.

        Raises:
            OutputError: The folder holds files, and `resume` is not set.
            CheckpointError: The state there is torn, or of another recipe.
        """
        self.folder.check(resume)
        # Nobody writes before everybody has looked.
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            self.writer.create()
        self.accelerator.wait_for_everyone()
        if resume and self.folder.state.exists():
            self.position = state.load(
                self.folder.state, self.learned, self.recipe, self.images.training, self.images.validation
            )
            self.console.print(f"continuing after {self._done()}")
        elif resume:
            self.console.print(f"no checkpoint in {self.folder.path} yet: starting from the beginning")
        if self.accelerator.is_main_process:
            self.writer.describe(self.position)

    def run(self, trackers: Trackers) -> TrainingResult:
        """Train the epochs that are left, then report on the best model."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.console.print(
            f"{self.recipe.model.name}: {parameters / 1e6:.2f}M parameters, {len(self.images)} training and "
            f"{len(self.images.validation)} validation images, {len(self.classes)} classes, on {self.device}",
            soft_wrap=True,
        )
        position = self.position
        while position.epoch < self.recipe.epochs:
            row, timing = self._train_epoch()
            if (position.epoch + 1) % self.recipe.evaluate_every == 0 or position.epoch + 1 == self.recipe.epochs:
                row |= self._validate()
            position.epoch, position.batch, position.sums = position.epoch + 1, 0, [0.0, 0.0, 0.0]
            position.history.append(row)
            position.timings.append(timing)
            # Before the checkpoint, so that a kill between the two loses no row.
            trackers.log(row)
            self._keep(row)
            self.console.print(_summary(row, timing, self.recipe.epochs), highlight=False, soft_wrap=True)
            self._stop_if_asked(None)
        self.console.print(
            f"best: epoch {position.best_epoch}, {position.best_accuracy:.2%} of the validation images right; "
            f"{self.folder.best}",
            soft_wrap=True,
        )
        if self.accelerator.is_main_process:
            page = self.writer.report(position, self.device)
            self.console.print(f"report: {page}", soft_wrap=True)
        return TrainingResult(
            self.folder.path, self.folder.best, position.best_epoch, position.best_accuracy, position.history
        )

    def _train_epoch(self) -> tuple[Row, Row]:
        """Visit every training image that the epoch has left; returns its metrics and its timing."""
        recipe, position = self.recipe, self.position
        started, start_batch = time.perf_counter(), position.batch
        order = self.images.order(position.epoch)
        self.model.train()
        # Every process adds its share to sums that start with what was there at the last checkpoint.
        sums = torch.tensor(position.sums, device=self.device) * self.accelerator.is_main_process
        unchecked: list[Tensor] = []
        learning_rate = 0.0
        with (
            EpochProgress(
                self.console, position.epoch + 1, recipe.epochs, len(self.images), start_batch * recipe.batch_size
            ) as progress,
            closing(self.images.batches(order, position.epoch, self.loaded_rows, start_batch)) as batches,
        ):
            for chosen, images in zip(order[start_batch:], batches, strict=True):
                self.schedule.step_update(position.step)
                learning_rate = max(group["lr"] for group in self.learned.optimizer.param_groups)
                loss, counts = self.visit(chosen, images)
                position.step += 1
                position.batch += 1
                sums += counts
                unchecked.append(loss)
                if self.device.type == "cpu" or len(unchecked) == _STEPS_BETWEEN_CHECKS:
                    self._refuse_non_finite(unchecked)
                    progress.update(*self._progress(sums))
                last = position.batch == len(order)
                if recipe.checkpoint_every and position.step % recipe.checkpoint_every == 0 and not last:
                    self._save(sums)
                if not last:
                    self._stop_if_asked(sums)
        self._refuse_non_finite(unchecked)
        cross_entropy, balance, correct = (value / len(self.images) for value in self._total(sums))
        seconds = time.perf_counter() - started
        visited = len(self.images) - start_batch * recipe.batch_size
        row = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "lr": learning_rate,
            "train_loss": cross_entropy,
            "balance_loss": balance,
            "train_acc": correct,
        }
        return row, {"epoch": position.epoch + 1, "images_per_second": visited / seconds, "seconds": seconds}

    def _progress(self, sums: Tensor) -> tuple[int, float, float]:
        """Images of the epoch so far, and cross-entropy and accuracy of this process's share of them."""
        done = min(self.position.batch * self.recipe.batch_size, len(self.images))
        cross_entropy, _, correct = (value * self.accelerator.num_processes for value in sums.tolist())
        return done, cross_entropy / done, correct / done

    def _total(self, sums: Tensor) -> list[float]:
        """Sums over all processes."""
        return self.accelerator.reduce(sums, "sum").tolist()

    def _share(self, count: int) -> Share:
        """This process's part of a batch of `count` images."""
        accelerator = self.accelerator
        return self.transform.share(count, torch.arange(count)[accelerator.process_index :: accelerator.num_processes])

    def loaded_rows(self, count: int) -> Tensor:
        """The rows, (n,) int64, that this process loads of a batch of `count` images."""
        return self._share(count).loaded

    def visit(self, chosen: Tensor, images: Tensor) -> tuple[Tensor, Tensor]:
        """One update from bytes.

        Args:
            chosen: Positions of the update's images, (B,) int64, of all processes.
            images: Those that this process needs, (rows, C, H, W) uint8.

        Returns:
            The loss, and this process's sums of cross-entropy, balance loss and correct answers.
        """
        recipe, step = self.recipe, self.position.step
        # Every source of chance is a function of the step, so that a run can go on from any.
        draws = self.transform.sample(len(chosen), stream(recipe.seed, step, "augmentation"))
        # Dropout and stochastic depth draw from the global generators.
        torch.manual_seed(stream_seed(recipe.seed, step, f"model {self.accelerator.process_index}"))
        share = self._share(len(chosen))
        labels = self.images.labels[chosen[share.loaded]].to(self.device, non_blocking=True)
        inputs, targets = self.transform.apply(images.to(self.device, non_blocking=True), labels, draws, share)
        return self.update(inputs, targets, len(chosen), step)

    def _validate(self) -> Row:
        """Score the model, and the averaged weights, on every validation image, each by one process."""
        row: Row = {}
        average = self.learned.average
        if average is not None:
            with average.applied(self.model), sharding.whole(self.update.learner):
                row = {f"ema_{name}": value for name, value in self._score().items()}
        sample = self.images.validation_images(memory_sample(len(self.images.validation))).to(self.device)
        with sharding.whole(self.update.learner):
            return self._score() | row | memory_columns(self.model, self.preprocessing.normalise(sample))

    def _score(self) -> Row:
        """Loss and accuracy on every validation image, with the weights that the model has now."""
        count = len(self.images.validation)
        mine = shard(count, self.accelerator.process_index, self.accelerator.num_processes)
        labels = self.images.validation.labels[mine]
        with closing(self.images.validation_batches(mine)) as batches:
            sums = score(self.model, batches, labels, self.preprocessing, self.device)
        loss, correct = (value / count for value in self._total(sums))
        if not loss < float("inf"):
            raise self._non_finite(f"in the validation after step {self.position.step}")
        return {"val_loss": loss, "val_acc": correct}

    def _keep(self, row: Row) -> None:
        """Note whether the epoch is the best so far, and write its checkpoints, metrics and curves."""
        self._refuse_broken_weights()
        position, found = self.position, accuracy(row)
        improved = found is not None and found > position.best_accuracy
        if found is not None and improved:
            position.best_accuracy, position.best_epoch = found, position.epoch
        snapshot = self.learned.snapshot()
        if self.accelerator.is_main_process:
            self.writer.keep_epoch(position, snapshot, improved)

    def _save(self, sums: Tensor) -> None:
        """Write a checkpoint within an epoch, of which `sums` is this process's share so far."""
        self._refuse_broken_weights()
        self.position.sums = self._total(sums)
        snapshot = self.learned.snapshot()
        if self.accelerator.is_main_process:
            self.writer.save_state(self.position, snapshot)

    def _refuse_broken_weights(self) -> None:
        """Never replace a good checkpoint by one of weights that the last update broke."""
        if not sharding.all_finite(self.model):
            raise self._non_finite(f"after step {self.position.step}, for the weights are not")

    def _refuse_non_finite(self, losses: list[Tensor]) -> None:
        """Look at the losses of the latest steps, and forget them."""
        if not losses:
            return
        finite = torch.stack(losses).isfinite().tolist()
        if not all(finite):
            raise self._non_finite(f"at step {self.position.step - len(losses) + finite.index(False) + 1}")
        losses.clear()

    def _non_finite(self, when: str) -> NonFiniteLossError:
        recipe = self.recipe
        remedies = [f"lower optimizer.lr (now {recipe.optimizer.lr:g})"]
        if recipe.clip_grad is None:
            remedies.append("limit gradients with clip_grad=1.0")
        if recipe.precision != "fp32":
            remedies.append("train with precision=fp32")
        return NonFiniteLossError(
            f"the loss is not finite {when} (epoch {self.position.epoch + 1}); {' or '.join(remedies)}; "
            f"the last checkpoint in {self.folder.path} is intact"
        )

    def _stop_if_asked(self, sums: Tensor | None) -> None:
        """End the run if a signal arrived, with its state on disk; no `sums` if it is there already."""
        number = self._signal()
        if number is None or self.position.epoch == self.recipe.epochs:
            return
        if sums is not None:
            self._save(sums)
        raise TrainingInterrupted(
            number, f"stopped after {self._done()}; continue with --resume auto in {self.folder.path}"
        )

    def _signal(self) -> int | None:
        """The signal that some process got, on which all agree."""
        number = self.interruption.signal_number
        if self.accelerator.num_processes == 1:
            return number
        # Asking the others waits for them, so it is done now and then, by all at the same step.
        if self.position.batch and self.position.step % _STEPS_BETWEEN_CHECKS:
            return None
        largest = self.accelerator.gather(torch.tensor([number or 0], device=self.device)).max().item()
        return int(largest) or None

    def _done(self) -> str:
        position = self.position
        if position.batch:
            steps = self.images.steps_per_epoch
            return f"step {position.step}, {position.batch} of {steps} into epoch {position.epoch + 1}"
        return f"step {position.step}, the end of epoch {position.epoch} of {self.recipe.epochs}"


def _summary(row: Row, timing: Row, epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['train_loss']:.4f}", f"acc {row['train_acc']:.2%}"]
    if "val_acc" in row:
        parts.append(f"val {row['val_acc']:.2%}")
    if "ema_val_acc" in row:
        parts.append(f"ema {row['ema_val_acc']:.2%}")
    parts.append(f"lr {row['lr']:.2e}")
    parts.append(f"{timing['images_per_second']:.0f} images/s, {timing['seconds']:.0f} s")
    return "  ".join(parts)
