"""Read what a run left beside its checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from ait_lite.checkpoint import BEST, CONFIG, RECIPE, read_config, resolve
from training.data.sources.folder import Layout
from training.errors import DataError
from training.storage.history import read_metrics


@dataclass(frozen=True)
class RunRecord:
    """The origin of a checkpoint, as far as its folder and the one around it tell.

    Attributes:
        history: One row of metrics per epoch; empty if there is no ``metrics.jsonl``.
        best_epoch: The checkpoint's epoch, counted from 1; None if it does not say.
        settings: The run's recipe; empty if there is no ``recipe.yaml``.
        validation: Names of the images that were held out; empty if there is no ``validation.txt``.
    """

    history: list[dict[str, float]]
    best_epoch: int | None
    settings: dict[str, Any]
    validation: frozenset[str]


def read_run(checkpoint: Path) -> RunRecord:
    """Read what a run left around a checkpoint folder, such as its ``best``.

    Raises:
        CheckpointError: The folder has no readable ``config.json``.
        OSError: A file cannot be read.
    """
    metrics, recipe = checkpoint.parent / "metrics.jsonl", checkpoint.parent / RECIPE
    held_out = checkpoint.parent / "validation.txt"
    return RunRecord(
        history=read_metrics(metrics) if metrics.is_file() else [],
        best_epoch=(read_config(checkpoint).get("metrics") or {}).get("epoch"),
        settings=yaml.safe_load(recipe.read_text(encoding="utf-8")) if recipe.is_file() else {},
        validation=frozenset(held_out.read_text(encoding="utf-8").split("\n")[:-1] if held_out.is_file() else ()),
    )


def run_or_checkpoint(reference: str) -> Path:
    """Find the checkpoint that a run's folder, a checkpoint's folder or a bundled model's name means."""
    folder = resolve(reference)
    best = folder / BEST
    return best if not (folder / CONFIG).is_file() and (best / CONFIG).is_file() else folder


class HeldOut(NamedTuple):
    """The images that a run held out, as arguments of an evaluation.

    Attributes:
        root: The recipe's ``data.root``.
        source: Its ``data.source``.
        layout: Its ``data.layout``.
        only: The file that lists them; None means all there are.
    """

    root: str | None
    source: str
    layout: Layout
    only: Path | None


def held_out_by_both(first: Path, second: Path) -> HeldOut:
    """Find the images that two checkpoints' runs both held out.

    Raises:
        DataError: They are not of runs, or not the same.
        CheckpointError, OSError: As `read_run`.
    """
    runs = [read_run(each.resolve()) for each in (first, second)]
    for checkpoint, run in zip((first, second), runs, strict=True):
        if not run.settings or not run.validation:
            raise DataError(f"{checkpoint} is not in a run's folder: name the images to compare on as DATA")
    if runs[0].validation != runs[1].validation:
        raise DataError(
            f"the runs of {first} and {second} held out different images, and one may have been trained on the "
            "other's: name images that both have not seen as DATA"
        )
    data = runs[0].settings["data"]
    only = first.resolve().parent / "validation.txt"
    return HeldOut(data["root"], data["source"], data.get("layout", "auto"), only)
