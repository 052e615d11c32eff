"""What a run left beside its checkpoint."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from training.storage.history import read_metrics


@dataclass(frozen=True)
class RunRecord:
    """How a checkpoint came about, as far as its folder and the one around it tell.

    Attributes:
        history: One row of metrics an epoch; empty if there is no ``metrics.jsonl``.
        best_epoch: The checkpoint's epoch, counted from 1; None if it does not say.
        settings: The run's recipe; empty if there is no ``recipe.yaml``.
    """

    history: list[dict[str, float]]
    best_epoch: int | None
    settings: dict[str, Any]


def read_run(checkpoint: Path) -> RunRecord:
    """Read what a run left around a checkpoint folder, such as its ``best``."""
    metrics, recipe = checkpoint.parent / "metrics.jsonl", checkpoint.parent / "recipe.yaml"
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    return RunRecord(
        history=read_metrics(metrics) if metrics.is_file() else [],
        best_epoch=(config.get("metrics") or {}).get("epoch"),
        settings=yaml.safe_load(recipe.read_text(encoding="utf-8")) if recipe.is_file() else {},
    )
