"""Trained models as timm ``local-dir`` folders: ``config.json`` and ``model.safetensors``, for everyone else."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm
import timm.models
from torch import Tensor, nn

from ait.pretrained.checkpoint import load_checkpoint
from ait_lite.checkpoint import BEST, CONFIG, WEIGHTS, CheckpointError, atomic_folder
from ait_lite.runtimes import refuse_prepared

# Under "calibration" until a temperature is fitted.
_UNCALIBRATED = "not done: a run fits a temperature at its end, and `ait calibrate` does it by hand"

_INDEPENDENT = "none: classes do not exclude each other"


def save_model(
    folder: Path,
    model: nn.Module,
    weights: Mapping[str, Tensor],
    data_config: Mapping[str, Any],
    label_names: Sequence[str],
    metrics: Mapping[str, Any],
    multi_label: bool = False,
) -> None:
    """Write a model folder, in float32 as trained.

    Args:
        folder: Replaced as a whole if it exists.
        model: A model that timm's factory made; its own weights do not matter and may lie on the meta device.
        weights: Its parameters and buffers by name.
        data_config: How its inputs are preprocessed, under timm's names (`timm.data.resolve_data_config`).
        label_names: Class names by label.
        metrics: Kept in ``config.json`` under ``metrics``, for people.
        multi_label: True for classes that do not exclude each other, each with a probability (sigmoid) of its own;
            ``config.json`` then says so, and a run adds ``thresholds`` by class at its end.

    Raises:
        OSError: The folder cannot be written.
        SafetensorError: Likewise.
    """
    model = copy.deepcopy(model).to("meta")
    model.load_state_dict(weights, assign=True)
    with atomic_folder(folder) as temporary:
        timm.models.save_for_hf(
            model,
            str(temporary),
            model_config={
                "label_names": list(label_names),
                "metrics": dict(metrics),
                "temperature": None,
                "calibration": _INDEPENDENT if multi_label else _UNCALIBRATED,
            }
            | ({"multi_label": True} if multi_label else {}),
            safe_serialization=True,
            data_config=dict(data_config),
        )


def load_model(folder: Path) -> nn.Module:
    """Build the model of a folder with its weights, in evaluation mode.

    Raises:
        CheckpointError: The folder is no checkpoint, or its weights are torn or of another model.
    """
    refuse_prepared(folder)  # which lacks weights, and is not to be told so
    missing = missing_files(folder)
    if missing and folder.is_dir():
        hint = f"; did you mean {folder / BEST}?" if not missing_files(folder / BEST) else ""
        raise CheckpointError(f"{folder} is not a checkpoint: it lacks {' and '.join(missing)}{hint}")
    return load_checkpoint(folder)


def missing_files(folder: Path) -> list[str]:
    """List the files of a model folder that are not there."""
    return [name for name in (CONFIG, WEIGHTS) if not (folder / name).is_file()]
