"""Train one model on one data set with the project's trainer; a trial goes on where it was stopped."""

import csv
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import timm
import torch
from rich.console import Console

from ait.benchmark.cost import model_cost
from ait_lite.checkpoint import write_text
from training.errors import DataError
from training.experiments.budget import Budget, NotChosen, run_chosen, trial_name
from training.experiments.environment import record_environment
from training.experiments.tables.datasets import TABLE_DATA
from training.recipe.loading import parse_recipe
from training.run.output.folder import accuracy
from training.run.trainer import train
from training.storage.history import Row

_DIGEST: Final = 6  # hexadecimal digits, to tell the settings of one experiment apart


@dataclass(frozen=True)
class TableTrial:
    """A cell of a table.

    Attributes:
        label: The model, as tables call it.
        dataset: A name of `TABLE_DATA`.
        model: A timm model.
        args: Its arguments beside the data set's input and patch size.
        recipe: Keys of the recipe that differ from the paper's.
        seed: Of the start and the order.
    """

    label: str
    dataset: str
    model: str
    args: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of the trial's files: another one for other settings."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:_DIGEST]
        return trial_name(self.label, self.dataset, digest, f"seed {self.seed}")

    def model_args(self) -> dict[str, Any]:
        """Return all arguments of the model but the number of classes."""
        data = TABLE_DATA[self.dataset]
        return {"img_size": data.img_size, "patch_size": data.patch_size, **self.args}

    def settings(self, data: dict[str, Any], folder: Path) -> dict[str, Any]:
        """Write the recipe: the paper's, changed as the trial says.

        100 epochs of AdamW at 1e-4, down to 1e-6 after 5 epochs of warm-up from 1e-5, weight decay 0.01, padded crops
        and flips; on a GPU in bfloat16, of which the paper says nothing.

        Args:
            data: Section of the recipe.
            folder: Where the run writes.
        """
        of_set = TABLE_DATA[self.dataset]
        return {
            "data": {**data, "cache": str(folder / "decoded")},
            "model": {"name": self.model, "args": self.model_args()},
            "output": str(folder / self.name),
            "epochs": 100,
            "batch_size": of_set.batch_size,
            "optimizer": {"name": "adamw", "lr": 1e-4, "weight_decay": 0.01},
            "schedule": {"kind": "cosine", "warmup_epochs": 5, "warmup_lr": 1e-5, "min_lr": 1e-6},
            "augment": of_set.augment,
            "balance_weight": 1e-2,
            "exemplars": 0,
            "precision": "bf16" if torch.cuda.is_available() else "fp32",
            "seed": self.seed,
            **self.recipe,
        }


def run_trial(trial: TableTrial, root: Path | None, folder: Path, budget: Budget) -> dict[str, Any] | None:
    """Train and measure, or read what an earlier command measured.

    Args:
        trial: What to do.
        root: Folder of the data sets, or None.
        folder: Where results and runs are kept.
        budget: Asked before the trial and after every epoch.

    Returns:
        The result: accuracy on the test images after the last epoch, by epoch, cost, seconds of an epoch and settings;
        None where there are no such data.

    Raises:
        OutOfTime: The trial has to go on in another command; its state is written.
        NotChosen: Another command has to run it.
        DataError: The data cannot be used.
        OutputError: A run of other settings, or at work, is in the way.
    """
    settings = json.loads(json.dumps(asdict(trial)))
    done = folder / f"{trial.name}.json"
    if done.is_file():
        known: dict[str, Any] = json.loads(done.read_text())
        return known
    if not budget.includes(trial.name):
        raise NotChosen
    data = TABLE_DATA[trial.dataset].recipe(root)
    if data is None:
        return None
    budget.check()
    recipe = parse_recipe(trial.settings(data, folder))

    def stop_in_time(row: Row) -> None:
        if row["epoch"] < recipe.epochs:
            budget.check()

    run = train(recipe, resume=True, console=Console(quiet=True), after_epoch=stop_in_time)
    config = json.loads((run.checkpoint / "config.json").read_text())
    model = timm.create_model(trial.model, num_classes=config["num_classes"], **trial.model_args())
    cost = model_cost(model, torch.zeros(1, 3, *[TABLE_DATA[trial.dataset].img_size] * 2))
    history = [
        {"epoch": row["epoch"], "accuracy": found} for row in run.history if (found := accuracy(row)) is not None
    ]
    result = {"settings": settings, "accuracy": history[-1]["accuracy"], "history": history}
    with (run.output / "timing.csv").open(newline="") as table:
        seconds = median(float(row["seconds"]) for row in csv.DictReader(table))
    result |= {"parameters": cost.parameters, "multiply_adds": cost.multiply_adds, "seconds_per_epoch": seconds}
    record_environment(folder, trial.name)
    write_text(done, json.dumps(result, indent=1) + "\n")
    return result


def run_trials(
    trials: Sequence[TableTrial], run: Callable[[TableTrial], dict[str, Any] | None]
) -> tuple[dict[tuple[str, str], list[dict[str, Any]]], list[str]]:
    """Train what is not trained yet.

    Args:
        trials: What to do.
        run: Trains one; None where there are no data for it.

    Returns:
        Results by label and data set, and the data sets that are not there.

    Raises:
        DataError: None of them is.
    """
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    missing: list[str] = []
    for trial, result in run_chosen(trials, run):
        if result is not None:
            found.setdefault((trial.label, trial.dataset), []).append(result)
        elif trial.dataset not in missing:
            missing.append(trial.dataset)
    if missing and not found:
        raise DataError(f"there is no {' or '.join(missing)} to train on: name a folder that holds it with --data")
    return found, missing
