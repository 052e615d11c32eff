"""What a run leaves on disk, written so that a kill at any moment leaves something whole.

Two things are kept. The *state* (``last/state.safetensors``) is all a run needs to continue: one safetensors
file whose header holds the rest as JSON, with a digest over both. The *best model* (``best/``) is a timm
``local-dir`` folder, for everyone else.
"""

import copy
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import timm.models
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from ait_lite.checkpoint.atomic import sync
from training.data.preprocessing import Preprocessing
from training.errors import CheckpointError
from training.sharding import spread_like

_FORMAT = "ait-training-state-1"


def save_state(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and JSON values as one file, atomically.

    Args:
        path: The file; its folder is created.
        tensors: By name, on any device.
        values: Whatever JSON can hold.
    """
    # Clones, because safetensors refuses tensors that share memory (tied weights).
    held = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(values)
    metadata = {"format": _FORMAT, "values": text, "sha256": _digest(held, text)}
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    save_file(held, temporary, metadata=metadata)
    sync(temporary)
    os.replace(temporary, path)
    sync(path.parent)


def load_state(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `save_state` wrote.

    Raises:
        CheckpointError: The file is missing, torn, altered or of another format.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint {path}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} is torn or altered: {error}") from error
    if metadata.get("format") != _FORMAT:
        raise CheckpointError(f"{path} is not a training state of this version")
    if metadata.get("sha256") != _digest(tensors, metadata.get("values", "")):
        raise CheckpointError(f"checkpoint {path} is torn or altered: its digest does not match")
    return tensors, json.loads(metadata["values"])


def pack_optimizer(optimizer: Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """An optimiser's state as named tensors and JSON values."""
    state = optimizer.state_dict()
    tensors: dict[str, Tensor] = {}
    values: dict[str, dict[str, Any]] = {}
    for index, entries in state["state"].items():
        values[str(index)] = {}
        for name, entry in entries.items():
            if isinstance(entry, Tensor):
                tensors[f"{index}.{name}"] = entry
            else:
                values[str(index)][name] = entry
    return tensors, {"state": values, "param_groups": state["param_groups"]}


def unpack_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Give an optimiser the state that `pack_optimizer` took.

    Raises:
        CheckpointError: The state is of an optimiser with other parameters.
    """
    state: dict[int, dict[str, Any]] = {int(index): dict(entry) for index, entry in values["state"].items()}
    parameters = dict(enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]))
    for name, tensor in tensors.items():
        index, _, entry = name.partition(".")
        state[int(index)][entry] = spread_like(tensor, parameters.get(int(index), tensor))
    groups = []
    for saved, current in zip(values["param_groups"], optimizer.param_groups, strict=False):
        # JSON knows no tuples; restore them where the optimiser has them.
        groups.append(
            {
                key: tuple(value) if isinstance(current.get(key), tuple) and value is not None else value
                for key, value in saved.items()
            }
        )
    try:
        if len(groups) != len(optimizer.param_groups):
            raise ValueError("another number of parameter groups")
        optimizer.load_state_dict({"state": state, "param_groups": groups})
    except ValueError as error:
        raise CheckpointError(f"the optimiser's state does not fit this optimiser: {error}") from error


def save_model(
    folder: Path,
    model: nn.Module,
    weights: Mapping[str, Tensor],
    preprocessing: Preprocessing,
    label_names: Sequence[str],
    metrics: Mapping[str, Any],
) -> None:
    """Write a timm ``local-dir`` folder: ``config.json`` and ``model.safetensors``, in float32 as trained.

    Args:
        folder: Replaced as a whole if it exists.
        model: A model that timm's factory made; its own weights do not matter and may lie on the meta device.
        weights: Its parameters and buffers by name.
        preprocessing: What its inputs went through.
        label_names: Class names by label.
        metrics: Kept in ``config.json`` under ``metrics``, for people.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    model = copy.deepcopy(model).to("meta")
    model.load_state_dict(weights, assign=True)
    try:
        timm.models.save_for_hf(
            model,
            str(temporary),
            model_config={"label_names": list(label_names), "metrics": dict(metrics)},
            safe_serialization=True,
            data_config=preprocessing.data_config(),
        )
        # Temporary folders and weights are made for their owner alone; whoever serves the model reads it too.
        temporary.chmod(0o755)
        for file in temporary.iterdir():
            file.chmod(0o644)
            sync(file)
        sync(temporary)
        replace_folder(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def update_config(folder: Path, values: Mapping[str, Any]) -> None:
    """Replace top-level keys of a ``local-dir`` folder's ``config.json``, atomically.

    Raises:
        CheckpointError: There is no such file, or it is torn.
    """
    path = folder / "config.json"
    write_text(path, json.dumps({**read_config(folder), **values}, indent=2) + "\n")
    path.chmod(0o644)


def read_config(folder: Path) -> dict[str, Any]:
    """What a ``local-dir`` folder's ``config.json`` holds.

    Raises:
        CheckpointError: There is no such file, or it is torn.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {folder}: config.json cannot be read ({error})") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"checkpoint {folder}: config.json holds no settings")
    return config


def replace_folder(new: Path, folder: Path) -> None:
    """Put a finished folder in the place of another.

    No rename replaces a full folder, so there is a moment with neither; the old one then waits as
    ``.{name}-previous``, and `repair_folder` puts it back.
    """
    previous = _previous(folder)
    shutil.rmtree(previous, ignore_errors=True)
    if folder.exists():
        os.rename(folder, previous)
    os.rename(new, folder)
    sync(folder.parent)
    shutil.rmtree(previous, ignore_errors=True)


def repair_folder(folder: Path) -> None:
    """Undo a replacement that a kill cut short, and remove what it left behind."""
    previous = _previous(folder)
    if previous.exists() and not folder.exists():
        os.rename(previous, folder)
    for leftover in folder.parent.glob(f".{folder.name}-*"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text, encoding="utf-8")
    sync(temporary)
    os.replace(temporary, path)


def _previous(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}-previous")


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
