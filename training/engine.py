"""The training loop: from a recipe to checkpoints, metrics and curves."""

import csv
import io
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import yaml
from accelerate import Accelerator
from accelerate.state import AcceleratorState, PartialState, is_initialized
from rich.console import Console
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional as F

from training.allocator import keep_freed_memory
from training.checkpoint import (
    load_state,
    pack_optimizer,
    repair_folder,
    save_model,
    save_state,
    unpack_optimizer,
    write_text,
)
from training.config import Recipe
from training.data import Augmentation, Preprocessing, decode_folder, find_splits
from training.errors import CheckpointError, NonFiniteLossError, OutputError, TrainingInterrupted
from training.initialisation import whiten_patch_embedding
from training.interruption import Interruption
from training.learner import Learner, create_model
from training.memory_health import memory_columns
from training.mimetic import mimetic_attention
from training.optimisation import create_average, create_optimizer, create_schedule, float32_newton_schulz
from training.progress import EpochProgress
from training.report import draw_curves
from training.scoring import score
from training.seeds import epoch_order, stream, stream_seed

Row = dict[str, float]

# Keys a resumed run may change: they say where and for how long, not what is computed in an epoch.
_FREE_ON_RESUME = frozenset({"output", "epochs", "evaluate_every", "device", "compile"})
_FREE_DATA_ON_RESUME = frozenset({"root", "cache"})
# A loss is looked at as often as that is free: reading it from an accelerator waits for the step to end.
_STEPS_BETWEEN_CHECKS = 20
_WHITENING_IMAGES = 4000
_MEMORY_IMAGES = 512


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

    The result on a CPU does not depend on how often the run was killed and resumed between epochs.

    Args:
        recipe: What to train, on what, how.
        resume: Continue from the last whole epoch in ``recipe.output`` (from the start if there is none).
        console: Where progress goes; None is the standard error stream.

    Raises:
        OutputError: The output folder holds files, and `resume` is not set.
        RecipeError: The model, optimiser or schedule cannot be made.
        DataError: The data folder cannot be used.
        CheckpointError: The checkpoint is torn, or of another recipe.
        NonFiniteLossError: The loss became NaN or infinite; the last epoch's checkpoint is intact.
        TrainingInterrupted: SIGINT or SIGTERM arrived; the last epoch's checkpoint is whole.
    """
    # accelerate keeps one state a process; a second run with another precision or device needs a new one.
    if is_initialized():
        AcceleratorState._reset_state(reset_partial_state=not PartialState().use_distributed)
    # Told of the CPU explicitly, for without it accelerate does not join the processes of a CPU-only torchrun.
    cpu = recipe.device == "cpu" or not torch.accelerator.is_available()
    mixed_precision = "no" if recipe.precision == "fp32" else recipe.precision
    accelerator = Accelerator(cpu=cpu, mixed_precision=mixed_precision)
    if accelerator.device.type == "cpu":
        keep_freed_memory()
    console = console or Console(stderr=True)
    if not accelerator.is_main_process:
        console = Console(quiet=True)
    with Interruption() as interruption:
        trainer = Trainer(recipe, accelerator, console, interruption)
        trainer.open_output(resume)
        return trainer.run()


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
        self.output = recipe.output
        self.epoch = 0  # epochs done
        self.step = 0  # updates done
        self.history: list[Row] = []
        self.best_accuracy = -1.0
        self.best_epoch = 0

        train_folder, validation_folder = find_splits(recipe.data.root, recipe.data.validation_fraction, recipe.seed)
        self.classes = train_folder.classes
        self.validation_files = validation_folder.files
        torch.manual_seed(stream_seed(recipe.seed, 0, "model"))
        model = create_model(recipe.model, len(self.classes))
        self.preprocessing = Preprocessing.of_model(
            model,
            mean=recipe.data.mean,
            std=recipe.data.std,
            interpolation=recipe.data.interpolation,
            crop_pct=recipe.data.crop_pct,
        )
        with accelerator.main_process_first():
            self.images = decode_folder(train_folder, self.preprocessing, recipe.data.cache, console)
            self.validation_images = decode_folder(validation_folder, self.preprocessing, recipe.data.cache, console)
        if recipe.mimetic_attention:
            mimetic_attention(model, seed=recipe.seed)
        if recipe.patch_whitening:
            some = epoch_order(len(self.images), recipe.seed, 0)[:_WHITENING_IMAGES]
            whiten_patch_embedding(model, self.preprocessing.normalise(self.images[some]), seed=recipe.seed)
        self.images = self._place(self.images)
        self.labels = train_folder.labels.to(self.images.device)
        self.validation_labels = validation_folder.labels
        self.augmentation = Augmentation(recipe.augment)
        self.steps_per_epoch = -(-len(self.images) // recipe.batch_size)

        self.model: nn.Module = model.to(self.device)
        optimizer = create_optimizer(self.model, recipe.optimizer)
        self.schedule = create_schedule(
            optimizer, recipe.schedule, recipe.optimizer.lr, recipe.epochs, self.steps_per_epoch
        )
        self.average: ModelEmaV3 | None = None
        if recipe.ema_decay is not None:
            self.average = create_average(self.model, recipe.ema_decay)
        learner: Any = Learner(self.model)
        if recipe.compile:
            learner = torch.compile(learner)
        self.learner, self.optimizer = accelerator.prepare(learner, optimizer)

    @property
    def state_path(self) -> Path:
        """The file a run continues from."""
        return self.output / "last" / "state.safetensors"

    @property
    def best_path(self) -> Path:
        """The folder of the best model."""
        return self.output / "best"

    def open_output(self, resume: bool) -> None:
        """Claim the output folder, or load what an earlier run left there.

        Raises:
            OutputError: The folder holds files, and `resume` is not set.
            CheckpointError: As `load_state`; or the checkpoint is of another recipe.
        """
        if self.output.exists() and not self.output.is_dir():
            raise OutputError(f"output {self.output} is not a folder")
        if self.output.is_dir() and any(self.output.iterdir()) and not resume:
            raise OutputError(
                f"output folder {self.output} is not empty: pass --resume to continue the run in it, "
                "or choose another with output=FOLDER"
            )
        if self.accelerator.is_main_process:
            self.output.mkdir(parents=True, exist_ok=True)
            repair_folder(self.best_path)
        self.accelerator.wait_for_everyone()
        if resume and self.state_path.exists():
            self._load()
            self.console.print(f"continuing after epoch {self.epoch} of {self.recipe.epochs}")
        elif resume:
            self.console.print(f"no checkpoint in {self.output} yet: starting from the beginning")
        if self.accelerator.is_main_process:
            write_text(
                self.output / "recipe.yaml",
                yaml.safe_dump(self.recipe.model_dump(mode="json"), sort_keys=False),
            )
            # Which images were held out, so that an evaluation can use the same.
            write_text(self.output / "validation.txt", "".join(f"{name}\n" for name in self.validation_files))

    def run(self) -> TrainingResult:
        """Train the epochs that are left."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        self.console.print(
            f"{self.recipe.model.name}: {parameters / 1e6:.2f}M parameters, {len(self.images)} training and "
            f"{len(self.validation_images)} validation images, {len(self.classes)} classes, on {self.device}",
            soft_wrap=True,
        )
        while self.epoch < self.recipe.epochs:
            row = self._train_epoch()
            if (self.epoch + 1) % self.recipe.evaluate_every == 0 or self.epoch + 1 == self.recipe.epochs:
                row |= self._validate()
            self.epoch += 1
            self.history.append(row)
            self._keep(row)
            self.console.print(_summary(row, self.recipe.epochs), highlight=False, soft_wrap=True)
            self._stop_if_asked()
        self.console.print(
            f"best: epoch {self.best_epoch}, {self.best_accuracy:.2%} of the validation images right; "
            f"{self.best_path}",
            soft_wrap=True,
        )
        return TrainingResult(self.output, self.best_path, self.best_epoch, self.best_accuracy, self.history)

    def _place(self, images: Tensor) -> Tensor:
        """Hold the images on the accelerator where they take a small part of its memory."""
        if self.device.type != "cuda":
            return images
        free, _ = torch.cuda.mem_get_info(self.device)
        return images.to(self.device) if images.nbytes < free // 4 else images

    def _train_epoch(self) -> Row:
        """Visit every training image once; returns the epoch's metrics."""
        recipe, epoch = self.recipe, self.epoch
        started = time.perf_counter()
        order = epoch_order(len(self.images), recipe.seed, epoch)
        generator = stream(recipe.seed, epoch, "augmentation")
        # Dropout and stochastic depth draw from the global generators.
        torch.manual_seed(stream_seed(recipe.seed, epoch, "model"))
        self.model.train()
        sums = torch.zeros(3, device=self.device)  # cross-entropy, balance loss, correct
        unchecked: list[Tensor] = []
        learning_rate = 0.0
        with EpochProgress(self.console, epoch + 1, recipe.epochs, len(order)) as progress:
            for start in range(0, len(order), recipe.batch_size):
                chosen = order[start : start + recipe.batch_size]
                draws = self.augmentation.sample(len(chosen), generator)
                self.schedule.step_update(self.step)
                learning_rate = max(group["lr"] for group in self.optimizer.param_groups)
                loss, counts = self._update(chosen, draws)
                self.step += 1
                sums += counts
                unchecked.append(loss)
                if self.device.type == "cpu" or len(unchecked) == _STEPS_BETWEEN_CHECKS:
                    self._refuse_non_finite(unchecked)
                    done = start + len(chosen)
                    totals = sums.tolist()
                    progress.update(done, totals[0] / done, totals[2] / done)
                self._stop_if_asked()
        self._refuse_non_finite(unchecked)
        sums = self.accelerator.reduce(sums, "sum")
        cross_entropy, balance, correct = (value / len(order) for value in sums.tolist())
        seconds = time.perf_counter() - started
        return {
            "epoch": epoch + 1,
            "step": self.step,
            "lr": learning_rate,
            "train_loss": cross_entropy,
            "balance_loss": balance,
            "train_acc": correct,
            "images_per_second": len(order) / seconds,
            "seconds": seconds,
        }

    def _update(self, chosen: Tensor, draws: Any) -> tuple[Tensor, Tensor]:
        """One update from the images at some positions, of which this process takes its share.

        Returns:
            The loss, and this share's sums of cross-entropy, balance loss and correct answers.
        """
        processes = self.accelerator.num_processes
        mine = slice(self.accelerator.process_index, None, processes)
        indices = chosen[mine].to(self.images.device)
        images = self.images[indices].to(self.device, non_blocking=True)
        labels = self.labels[indices].to(self.device, non_blocking=True)
        images = self.preprocessing.normalise(self.augmentation.apply(images, draws[mine].to(self.device)))
        logits, balance = self.learner(images)
        total = F.cross_entropy(logits.float(), labels, label_smoothing=self.recipe.label_smoothing, reduction="sum")
        # Processes average their gradients, and in a last, partial batch their shares may differ.
        loss = total * (processes / len(chosen)) + self.recipe.balance_weight * balance
        self.accelerator.backward(loss)
        if self.recipe.clip_grad is not None:
            self.accelerator.clip_grad_norm_(self.learner.parameters(), self.recipe.clip_grad)
        with float32_newton_schulz() if self.device.type == "cpu" else nullcontext():
            self.optimizer.step()
        self.optimizer.zero_grad()
        if self.average is not None:
            self.average.update(self.model, step=self.step + 1)
        with torch.no_grad():
            correct = (logits.argmax(dim=1) == labels).sum()
            counts = torch.stack([total.detach(), balance.detach() * len(labels), correct.float()])
        return loss.detach(), counts

    def _validate(self) -> Row:
        """Score the model, and the averaged weights, on every validation image."""
        row: Row = {}
        for prefix, model in (("", self.model), ("ema_", self.average and self.average.module)):
            if model is None:
                continue
            loss, accuracy = score(
                model, self.validation_images, self.validation_labels, self.preprocessing, self.device
            )
            if not loss < float("inf"):
                raise self._non_finite(f"in the validation after step {self.step}")
            row |= {f"{prefix}val_loss": loss, f"{prefix}val_acc": accuracy}
        # Spread over the validation images, which are sorted by class.
        count = min(_MEMORY_IMAGES, len(self.validation_images))
        spread = torch.linspace(0, len(self.validation_images) - 1, count).long()
        images = self.preprocessing.normalise(self.validation_images[spread].to(self.device))
        return row | memory_columns(self.model, images)

    def _keep(self, row: Row) -> None:
        """Write the epoch's checkpoints, metrics and curves."""
        accuracy, ema_accuracy = row.get("val_acc", -1.0), row.get("ema_val_acc", -1.0)
        improved = max(accuracy, ema_accuracy) > self.best_accuracy
        if improved:
            self.best_accuracy, self.best_epoch = max(accuracy, ema_accuracy), self.epoch
        if not self.accelerator.is_main_process:
            return
        if improved:
            averaged = self.average is not None and ema_accuracy > accuracy
            best = self.average.module if self.average is not None and averaged else self.model
            metrics = {
                "epoch": self.epoch,
                "validation_accuracy": self.best_accuracy,
                "weights": "averaged" if averaged else "last",
            }
            save_model(self.best_path, best, self.preprocessing, self.classes, metrics)
        # The state last: a kill before it repeats the epoch and writes the same files again.
        self._save()
        write_text(self.output / "metrics.csv", _csv(self.history))
        draw_curves(self.history, self.output / "curves.png", title=self.recipe.model.name)

    def _save(self) -> None:
        optimizer_tensors, optimizer_values = pack_optimizer(self.optimizer.optimizer)
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        tensors |= {f"optimizer.{name}": value for name, value in optimizer_tensors.items()}
        if self.average is not None:
            tensors |= {f"average.{name}": value for name, value in self.average.module.state_dict().items()}
        scaler = self.accelerator.scaler
        values = {
            "epoch": self.epoch,
            "step": self.step,
            "best_accuracy": self.best_accuracy,
            "best_epoch": self.best_epoch,
            "classes": self.classes,
            "recipe": self.recipe.model_dump(mode="json"),
            "optimizer": optimizer_values,
            "scaler": scaler.state_dict() if scaler is not None else None,
            "history": self.history,
        }
        save_state(self.state_path, tensors, values)

    def _load(self) -> None:
        tensors, values = load_state(self.state_path)
        changed = _changed_keys(values["recipe"], self.recipe.model_dump(mode="json"))
        if changed:
            raise CheckpointError(
                f"the run in {self.output} was started with other settings ({', '.join(changed)}); "
                "resume with the same ones, or start anew with output=FOLDER"
            )
        if tuple(values["classes"]) != self.classes:
            raise CheckpointError(f"the run in {self.output} was started with other classes")
        groups: dict[str, dict[str, Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            group, _, rest = name.partition(".")
            groups[group][rest] = tensor
        try:
            self.model.load_state_dict(groups["model"])
            if self.average is not None:
                self.average.module.load_state_dict(groups["average"])
        except RuntimeError as error:
            raise CheckpointError(f"{self.state_path} does not fit the model: {error}") from error
        unpack_optimizer(self.optimizer.optimizer, groups["optimizer"], values["optimizer"])
        if self.accelerator.scaler is not None and values["scaler"]:
            self.accelerator.scaler.load_state_dict(values["scaler"])
        self.epoch, self.step = values["epoch"], values["step"]
        self.best_accuracy, self.best_epoch = values["best_accuracy"], values["best_epoch"]
        self.history = values["history"]

    def _refuse_non_finite(self, losses: list[Tensor]) -> None:
        """Look at the losses of the latest steps, and forget them."""
        if not losses:
            return
        finite = torch.stack(losses).isfinite().tolist()
        if not all(finite):
            raise self._non_finite(f"at step {self.step - len(losses) + finite.index(False) + 1}")
        losses.clear()

    def _non_finite(self, when: str) -> NonFiniteLossError:
        recipe = self.recipe
        remedies = [f"lower optimizer.lr (now {recipe.optimizer.lr:g})"]
        if recipe.clip_grad is None:
            remedies.append("limit gradients with clip_grad=1.0")
        if recipe.precision != "fp32":
            remedies.append("train with precision=fp32")
        kept = f"the checkpoint of epoch {self.epoch} is intact" if self.epoch else "no epoch was finished"
        return NonFiniteLossError(
            f"the loss is not finite {when} (epoch {self.epoch + 1}); {' or '.join(remedies)}; {kept} in {self.output}"
        )

    def _stop_if_asked(self) -> None:
        number = self.interruption.signal_number
        if number is None or self.epoch == self.recipe.epochs:
            return
        kept = (
            f"epoch {self.epoch} of {self.recipe.epochs} is kept in {self.output}; continue with --resume"
            if self.epoch
            else f"no epoch was finished; start again in {self.output} with --resume"
        )
        raise TrainingInterrupted(number, f"stopped after step {self.step}: {kept}")


def _changed_keys(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    changed = []
    for key in sorted(before.keys() | now.keys()):
        if key == "data":
            inner = before[key].keys() | now[key].keys()
            changed += [
                f"data.{name}"
                for name in sorted(inner - _FREE_DATA_ON_RESUME)
                if before[key].get(name) != now[key].get(name)
            ]
        elif key not in _FREE_ON_RESUME and before.get(key) != now.get(key):
            changed.append(key)
    return changed


def _csv(history: list[Row]) -> str:
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    return text.getvalue()


def _summary(row: Row, epochs: int) -> str:
    parts = [f"epoch {row['epoch']}/{epochs}", f"loss {row['train_loss']:.4f}", f"acc {row['train_acc']:.2%}"]
    if "val_acc" in row:
        parts.append(f"val {row['val_acc']:.2%}")
    if "ema_val_acc" in row:
        parts.append(f"ema {row['ema_val_acc']:.2%}")
    parts.append(f"lr {row['lr']:.2e}")
    parts.append(f"{row['images_per_second']:.0f} images/s, {row['seconds']:.0f} s")
    return "  ".join(parts)
