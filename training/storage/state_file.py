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
# Names of tensors that lie within other values of an optimiser, and what stands in their places and in those of types.
_WITHIN = "within"
_TENSOR, _DTYPE = "__tensor__", "__dtype__"


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
                values[str(index)][name] = _packed(entry, f"{_WITHIN}.{index}.{name}", tensors)
    rest = {
        name: _packed(entry, f"{_WITHIN}.{name}", tensors)
        for name, entry in state.items()
        if name not in ("state", "param_groups")
    }
    groups = [
        {name: _packed(entry, f"{_WITHIN}.group.{number}.{name}", tensors) for name, entry in group.items()}
        for number, group in enumerate(state["param_groups"])
    ]
    return SavedState(tensors, {"state": values, "param_groups": groups} | ({"rest": rest} if rest else {}))


def unpack_optimizer(optimizer: Optimizer, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Give an optimiser the state that `pack_optimizer` took.

    Args:
        optimizer: Of the same kind, over parameters of the same shapes in the same order.
        tensors: Whole tensors; they are spread as the parameters are.
        values: The JSON values beside them.

    Raises:
        CheckpointError: The state is of an optimiser with other parameters.
    """
    state: dict[int, dict[str, Any]] = {
        int(index): {name: _unpacked(value, tensors) for name, value in entry.items()}
        for index, entry in values["state"].items()
    }
    parameters = dict(enumerate(parameter for group in optimizer.param_groups for parameter in group["params"]))
    for name, tensor in tensors.items():
        index, _, entry = name.partition(".")
        if index == _WITHIN:
            continue
        like = parameters.get(int(index), tensor)
        state[int(index)][entry] = _laid_out_like(spread_like(tensor, like), like)
    try:
        if len(values["param_groups"]) != len(optimizer.param_groups):
            raise ValueError("another number of parameter groups")
        current = optimizer.state_dict()
        groups = [
            {key: _tuples_like(_unpacked(value, tensors), own.get(key)) for key, value in saved.items()}
            for saved, own in zip(values["param_groups"], optimizer.param_groups, strict=True)
        ]
        rest = {
            name: _tuples_like(_unpacked(value, tensors), current.get(name))
            for name, value in values.get("rest", {}).items()
        }
        optimizer.load_state_dict({"state": state, "param_groups": groups} | rest)
    except ValueError as error:
        raise CheckpointError(f"the optimiser's state does not fit this optimiser: {error}") from error


def _packed(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Make a value one that JSON can hold; tensors in it go to `tensors`, under names that begin with `name`."""
    if isinstance(value, Tensor):
        tensors[name] = value
        return {_TENSOR: name}
    if isinstance(value, torch.dtype):
        return {_DTYPE: str(value).removeprefix("torch.")}
    if isinstance(value, list | tuple):
        return [_packed(each, f"{name}.{place}", tensors) for place, each in enumerate(value)]
    return value


def _unpacked(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Give back what `_packed` took, with lists in place of tuples."""
    if isinstance(value, dict) and _TENSOR in value:
        # A clone, for the optimiser changes it.
        return tensors[value[_TENSOR]].clone()
    if isinstance(value, dict) and _DTYPE in value:
        return getattr(torch, value[_DTYPE])
    if isinstance(value, list):
        return [_unpacked(each, tensors) for each in value]
    return value


def _tuples_like(value: Any, current: Any) -> Any:
    """Make tuples of lists where the optimiser has tuples, which JSON does not know."""
    if not isinstance(current, tuple) or value is None:
        return value
    return tuple(_tuples_like(each, own) for each, own in zip(value, current, strict=True))


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
