"""Read what a run left beside its checkpoint."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ait_lite.checkpoint import read_config
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
    metrics, recipe = checkpoint.parent / "metrics.jsonl", checkpoint.parent / "recipe.yaml"
    held_out = checkpoint.parent / "validation.txt"
    return RunRecord(
        history=read_metrics(metrics) if metrics.is_file() else [],
        best_epoch=(read_config(checkpoint).get("metrics") or {}).get("epoch"),
        settings=yaml.safe_load(recipe.read_text(encoding="utf-8")) if recipe.is_file() else {},
        validation=frozenset(held_out.read_text(encoding="utf-8").split("\n")[:-1] if held_out.is_file() else ()),
    )
