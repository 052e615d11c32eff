"""The file a run continues from: tensors and JSON values in one safetensors file, with a digest over both."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from ait_lite.checkpoint import CheckpointError, atomic_file
from training.sharding import spread_like

_FORMAT = "ait-training-state-1"


class SavedState(NamedTuple):
    """The content of a state file, or a part of it.

    Attributes:
        tensors: By name.
        values: Whatever JSON can hold, by name.
    """

    tensors: dict[str, Tensor]
    values: dict[str, Any]


def save_state(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and JSON values as one file, atomically.

    Args:
        path: The file; its folder is created.
        tensors: By name, on any device.
        values: Whatever JSON can hold.

    Raises:
        OSError: The file cannot be written.
        SafetensorError: Likewise.
    """
    # Clones, because safetensors refuses tensors that share memory (tied weights).
    held = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(values)
    metadata = {"format": _FORMAT, "values": text, "sha256": _digest(held, text)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as temporary:
        save_file(held, temporary, metadata=metadata)


def load_state(path: Path) -> SavedState:
    """Read a file that `save_state` wrote.

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
    return SavedState(tensors, json.loads(metadata["values"]))


def read_values(path: Path) -> dict[str, Any]:
    """Read the JSON values of a file that `save_state` wrote, unchecked; empty where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            values: dict[str, Any] = json.loads((file.metadata() or {}).get("values", "{}"))
            return values
    except (OSError, SafetensorError, ValueError):
        return {}


def pack_optimizer(optimizer: Optimizer) -> SavedState:
    """Take an optimiser's state apart into named tensors and JSON values."""
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
    return SavedState(tensors, {"state": values, "param_groups": state["param_groups"]})


def unpack_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Give an optimiser the state that `pack_optimizer` took.

    Args:
        optimizer: Of the same kind, over parameters of the same shapes in the same order.
        tensors: Whole tensors; they are spread as the parameters are.
        values: The JSON values beside them.

    Raises:
        CheckpointError: The state is of an optimiser with other parameters.
    """
    state: dict[int, dict[str, Any]] = {int(index): dict(entry) for index, entry in values["state"].items()}
    parameters = dict(enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]))
    for name, tensor in tensors.items():
        index, _, entry = name.partition(".")
        like = parameters.get(int(index), tensor)
        state[int(index)][entry] = _laid_out_like(spread_like(tensor, like), like)
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


def _laid_out_like(value: Tensor, like: Tensor) -> Tensor:
    """Give a tensor the order in memory of a parameter of its shape, as it had before it was in a file."""
    if value.shape != like.shape or value.stride() == like.stride():
        return value
    return torch.empty_like(like, dtype=value.dtype, device=value.device).copy_(value)


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        digest.update(tensor.reshape(-1).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
