"""The folder a run writes: where everything lies, and how it is claimed, kept and resumed.

====================  =====================================================================================
``recipe.yaml``       the resolved recipe, seed included
``environment.json``  package versions, git state and machine of the latest start
``validation.txt``    names of the held-out images
``last/``             the state a run continues from
``best/``             the best model, a timm ``local-dir`` folder; at the end of the run it is given a temperature
                      (in ``config.json``) and exemplars (``exemplars.safetensors``)
``checkpoints/``      the best few models, ``epoch-0007`` and so on, where more than one is kept
``metrics.csv``       one row per epoch, the same for every run of the recipe; ``metrics.jsonl`` too
``timing.csv``        seconds and images per second of every epoch, which are not
``curves.png``        the metrics as a figure, drawn anew after an epoch as often as takes little of the time
``memory.png``        what the memory did over the epochs, of a model that has one
``report.md``         the best model on the validation images, with figures, written at the end
``tracking/``         what the trackers write
``run.lock``           which process is at work here, while one is
====================  =====================================================================================
"""

import json
import math
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from ait_lite.checkpoint import BEST, RECIPE, repair_folder, write_text
from training.errors import OutputError
from training.evaluation.report import draw_curves, draw_memory_health
from training.evaluation.report.memory import memory_blocks
from training.run.output.lock import LOCK
from training.run.output.provenance import environment
from training.storage.history import Row, write_metrics, write_table

# What the best epoch is chosen by; a run has one of them.
METRICS = ("val_acc", "val_map")
# Names of kept models: epoch-0007.
_CHECKPOINT = "epoch-????"


class RunFolder:
    """The output folder of one run.

    Args:
        path: The folder; nothing is created yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def state(self) -> Path:
        """The file a run continues from."""
        return self.path / "last" / "state.safetensors"

    @property
    def best(self) -> Path:
        """The folder of the best model."""
        return self.path / BEST

    @property
    def validation(self) -> Path:
        """The file that names the held-out images."""
        return self.path / "validation.txt"

    @property
    def _checkpoints(self) -> Path:
        return self.path / "checkpoints"

    def check(self, resume: bool) -> None:
        """Refuse a folder that is not ours to write to.

        Raises:
            OutputError: It is a file, or it holds files and `resume` is not set.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OutputError(f"output {self.path} is not a folder")
        if self.path.is_dir() and not resume and any(entry.name != LOCK for entry in self.path.iterdir()):
            raise OutputError(
                f"output folder {self.path} is not empty: pass --resume auto to continue the run in it, "
                "or choose another with output=FOLDER"
            )

    def create(self) -> None:
        """Make the folder, and finish what a kill cut short in it."""
        self.path.mkdir(parents=True, exist_ok=True)
        repair_folder(self.best)
        for leftover in list(self._checkpoints.glob(f".{_CHECKPOINT}-*")):
            repair_folder(self._checkpoints / leftover.name[1 : 1 + len(_CHECKPOINT)])
        # Files that were being written; whoever wrote them is gone.
        for folder in (self.path, self.best, self.state.parent):
            for file in folder.glob(".*.tmp"):
                file.unlink()

    def describe(self, settings: Mapping[str, Any], validation_names: Iterable[str]) -> None:
        """Write down what is run, on what, and which images were held out.

        Args:
            settings: The recipe as JSON values.
            validation_names: The images held out.
        """
        write_text(self.path / RECIPE, yaml.safe_dump(dict(settings), sort_keys=False))
        write_text(self.path / "environment.json", json.dumps(environment(), indent=2) + "\n")
        # So that an evaluation can use the same images.
        write_text(self.validation, "".join(f"{name}\n" for name in validation_names))

    def settings(self) -> dict[str, Any] | None:
        """Read the recipe that `describe` wrote last; None where there is none, or another file of its name."""
        try:
            found = yaml.safe_load((self.path / RECIPE).read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError):
            return None
        return found if isinstance(found, dict) and isinstance(found.get("data"), dict) else None

    def write_metrics(self, history: Sequence[Row], timings: Sequence[Row]) -> None:
        """Write the metrics and the timings of the epochs so far.

        Args:
            history: One row of metrics per epoch.
            timings: One row of timings per epoch.
        """
        write_metrics(self.path, history)
        write_table(self.path / "timing.csv", timings)

    def draw(self, history: Sequence[Row], title: str) -> None:
        """Draw the curves of the epochs so far, and what the memory did where the model has one.

        Args:
            history: One row of metrics per epoch.
            title: Of the curves.
        """
        draw_curves(history, self.path / "curves.png", title=title)
        if any(memory_blocks(row) for row in history):
            draw_memory_health(history, self.path / "memory.png")

    def keep_model(self, save: Callable[[Path], None], history: Sequence[Row], count: int) -> None:
        """Keep the latest epoch's model if it is among the best `count`, and delete the one it displaces.

        Args:
            save: Writes the model as a folder of the given name.
            history: Rows of all epochs, the latest last.
            count: Models to keep.
        """
        folder = self._checkpoints
        ranked = sorted((row for row in history if accuracy(row) is not None), key=_rank)[:count]
        wanted = {f"epoch-{int(row['epoch']):04d}" for row in ranked}
        latest = f"epoch-{int(history[-1]['epoch']):04d}"
        if latest in wanted:
            save(folder / latest)
        # Only folders of this kind: whatever else a person put there stays.
        for old in folder.glob(_CHECKPOINT):
            if old.name not in wanted:
                shutil.rmtree(old)


def accuracy(row: Mapping[str, float]) -> float | None:
    """Return the better validation accuracy of an epoch, of the last or the averaged weights; None without one.

    Where an image has any number of classes, that is mean average precision.
    """
    found = [
        row[f"{weights}{metric}"] for weights in ("", "ema_") for metric in METRICS if f"{weights}{metric}" in row
    ]
    return max(found) if found else None


def is_better(row: Mapping[str, float], other: Mapping[str, float] | None) -> bool:
    """Tell whether an epoch's model is better than another's: more accurate, or as accurate at a lower loss.

    Few validation images make equals of many epochs, and the first of them is the least trained.

    Args:
        row: Metrics of an epoch.
        other: Of the best one before; None if there is none.
    """
    found = accuracy(row)
    if found is None or other is None:
        return found is not None
    return (-found, _loss(row)) < (-(accuracy(other) or 0.0), _loss(other))


def _loss(row: Mapping[str, float]) -> float:
    """Return the validation loss of the weights that `accuracy` is of; infinite where it is not known."""
    averaged = any(row.get(f"ema_{metric}", -1.0) > row.get(metric, -1.0) for metric in METRICS)
    return row.get("ema_val_loss" if averaged else "val_loss", math.inf)


def _rank(row: Row) -> tuple[float, float, float]:
    return -(accuracy(row) or 0.0), _loss(row), row["epoch"]
