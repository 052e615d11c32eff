"""Write what a run leaves as it goes: checkpoints, metrics, figures and the report."""

import errno
import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from ait_lite.checkpoint import EXEMPLARS, update_config
from training.data import Preprocessing
from training.data.sources.splits import SplitDigest
from training.errors import OutputError
from training.evaluation.annotate import keep_temperature
from training.evaluation.calibration import Calibration, calibrate
from training.evaluation.exemplars import Candidates, Embedded, keep_exemplars
from training.evaluation.metrics import measure
from training.evaluation.multi_label import measure_multi_label
from training.evaluation.report import write_report
from training.evaluation.report.memory import memory_effects
from training.evaluation.report.multi_label import write_multi_label_report
from training.evaluation.scoring import predict_all
from training.recipe.keys import Recipe
from training.run.images import ImageByPosition, RunImages
from training.run.output import state
from training.run.output.folder import METRICS, RunFolder, accuracy
from training.run.output.state import Position
from training.step.learned import Snapshot
from training.storage.model_folder import load_model, save_model

# Figures are drawn again after so many times the seconds that they took.
_REST = 50


class Answers(NamedTuple):
    """What the best model says, where it is known before the report is written.

    Attributes:
        logits: Of the validation images, (N, classes).
        calibration: The best model's.
        training: What it makes of the training images; None where that is not known.
    """

    logits: Tensor
    calibration: Calibration
    training: Embedded | None = None


class RunWriter:
    """Write into a run's folder, from its main process.

    Args:
        folder: Where to.
        recipe: What is run; written down as a whole, and read for `keep_checkpoints`, `exemplars`, `figures` and
            `seed`.
        images: On what.
        preprocessing: What the images go through.
        model: The architecture of what is learned; its weights do not matter.

    Raises:
        OutputError: From every method, where the disk is full or refuses; what was written before is intact.
    """

    def __init__(
        self, folder: RunFolder, recipe: Recipe, images: RunImages, preprocessing: Preprocessing, model: nn.Module
    ) -> None:
        self._folder = folder
        self._recipe = recipe
        self._settings = recipe.model_dump(mode="json")
        self._images = images
        self._preprocessing = preprocessing
        self._model = model
        # Once, for a million names take seconds.
        self._digest = SplitDigest.of(images.training, images.validation)
        self._next_figures = -math.inf  # on the monotonic clock

    def create(self) -> None:
        """Create the folder, and finish what a kill cut short in it."""
        with self._writing():
            self._folder.create()

    def describe(self, position: Position) -> None:
        """Write what is run, and the metrics of a run that continues."""
        with self._writing():
            self._folder.describe(self._settings, self._images.validation.names)
            if position.history:
                # A kill after the last checkpoint may have spared these the latest epoch.
                self._write_metrics(position)

    def keep_epoch(self, position: Position, snapshot: Snapshot, improved: bool) -> None:
        """Write an epoch's checkpoints, metrics and curves.

        Args:
            position: The end of the epoch, whose row is the last.
            snapshot: What is learned by then.
            improved: True if the epoch's model is the best so far.
        """
        row, average = position.history[-1], snapshot.average
        averaged = average is not None and any(row.get(f"ema_{name}", -1.0) > row.get(name, -1.0) for name in METRICS)
        weights = average if average is not None and averaged else snapshot.model
        metrics: dict[str, Any] = {
            "epoch": position.epoch,
            "validation_map" if self._recipe.multi_label else "validation_accuracy": accuracy(row),
            "weights": "averaged" if averaged else "last",
        }
        if effects := memory_effects(row):
            metrics["memory"] = effects

        def save(path: Path) -> None:
            data_config = self._preprocessing.data_config()
            classes = self._images.training.classes
            save_model(path, self._model, weights, data_config, classes, metrics, multi_label=self._recipe.multi_label)

        with self._writing():
            if improved:
                save(self._folder.best)
            if self._recipe.keep_checkpoints > 1 and accuracy(row) is not None:
                self._folder.keep_model(save, position.history, self._recipe.keep_checkpoints)
        # The state before the metrics: a run killed between them writes them anew when it goes on.
        self.save_state(position, snapshot)
        with self._writing():
            self._write_metrics(position)

    def save_state(self, position: Position, snapshot: Snapshot) -> None:
        """Write the state that a run continues from."""
        with self._writing():
            classes = self._images.training.classes
            state.save(self._folder.state, snapshot, position, self._settings, classes, self._digest)

    def report(self, position: Position, device: torch.device, answers: Answers | None = None) -> Path:
        """Finish the run: give the best model its temperature and exemplars, and report on it.

        Args:
            position: The end of the run.
            device: Where to compute.
            answers: The best model's; None computes them, and fits a temperature to the validation images.

        Returns:
            The path of the report's page.
        """
        model = load_model(self._folder.best).to(device)
        held_out = self._images.validation
        if answers is None:
            with closing(self._images.validation_batches(torch.arange(len(held_out)))) as batches:
                logits = predict_all(model, batches, self._preprocessing, device)
            if held_out.targets is not None:
                return self._report_multi_label(logits, held_out.targets, position)
            answers = Answers(logits, calibrate(logits, held_out.labels))
        logits, calibration, embedded = answers
        with self._writing():
            keep_temperature(self._folder.best, calibration)
            self._keep_exemplars(model, device, embedded)
            return write_report(
                self._folder.path,
                measure(logits, held_out.labels, held_out.classes, calibration.temperature),
                logits,
                held_out.labels,
                ImageByPosition(self._images),
                title=f"{self._recipe.model.name}: validation",
                files=held_out.names,
                history=position.history,
                best_epoch=position.best_epoch,
                settings=self._settings,
                chosen_by=True,
                figures=self._recipe.figures,
            )

    def _report_multi_label(self, logits: Tensor, targets: Tensor, position: Position) -> Path:
        """Give the best model its thresholds, and report on it; exemplars are of single classes."""
        result = measure_multi_label(logits, targets, self._images.training.classes)
        with self._writing():
            update_config(self._folder.best, {"thresholds": result.thresholds})
            return write_multi_label_report(
                self._folder.path,
                result,
                title=f"{self._recipe.model.name}: validation",
                history=position.history,
                settings=self._settings,
                chosen_by=True,
                figures=self._recipe.figures,
            )

    def _keep_exemplars(self, model: nn.Module, device: torch.device, embedded: Embedded | None) -> None:
        training, recipe = self._images.training, self._recipe
        if not recipe.exemplars:
            # They may have been wanted before, and the run goes on without.
            (self._folder.best / EXEMPLARS).unlink(missing_ok=True)
            return
        keep_exemplars(
            self._folder.best,
            model,
            Candidates(self._images.training_images, training.labels, training.names),
            self._preprocessing,
            device,
            recipe.exemplars,
            recipe.seed,
            embedded,
        )

    def _write_metrics(self, position: Position) -> None:
        self._folder.write_metrics(position.history, position.timings)
        started = time.monotonic()
        if not self._recipe.figures or started < self._next_figures:
            return
        self._folder.draw(position.history, title=self._recipe.model.name)
        # A figure takes a second or two, an epoch on an accelerator may take as long: the report draws the last.
        self._next_figures = started + _REST * (time.monotonic() - started)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Report a full disk and the like as what it is."""
        try:
            yield
        except (OSError, SafetensorError) as error:
            raise OutputError(
                f"cannot write to {self._folder.path} ({error}); what was written before is intact: "
                f"{_remedy(error)} and continue with --resume auto"
            ) from error


def _remedy(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "make it writable"
    return "make room"
