"""A state file gives back what was saved, or is refused by name."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from training.errors import CheckpointError
from training.recipe.keys import OptimizerRecipe
from training.step.optimiser import create_optimizer
from training.storage.state_file import (
    load_state,
    pack_optimizer,
    save_state,
    unpack_optimizer,
)


def test_state_survives_the_disk(tmp_path: Path) -> None:
    tensors = {
        "a": torch.randn(3),
        "b": torch.arange(4),
        "half": torch.ones(2, dtype=torch.bfloat16),
        "0": torch.tensor(2.0),
    }
    tensors["tied"] = tensors["a"]
    path = tmp_path / "last" / "state.safetensors"
    save_state(path, tensors, {"rate": 0.1 + 0.2, "names": ["x"]})
    loaded, values = load_state(path)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    assert values == {"rate": 0.1 + 0.2, "names": ["x"]}
    assert [entry.name for entry in path.parent.iterdir()] == ["state.safetensors"]


@pytest.mark.parametrize("damage", ["tensor", "header", "truncated", "empty"])
def test_damaged_state_is_refused_by_name(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    save_state(path, {"a": torch.randn(300)}, {"epoch": 12345})
    content = bytearray(path.read_bytes())
    if damage == "tensor":
        content[-100] ^= 1
    elif damage == "header":
        content = bytearray(bytes(content).replace(b"12345", b"12346"))
    elif damage == "truncated":
        del content[-100:]
    else:
        content.clear()
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"state\.safetensors is torn or altered"):
        load_state(path)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_state(tmp_path / "absent")


# The last two hold a tensor and a type among the settings of their groups.
@pytest.mark.parametrize("name", ["adamw", "nmuon", "sgd", "lamb", "adafactorbv"])
def test_optimizer_state_survives_the_disk(name: str, tmp_path: Path) -> None:
    def steps(model: nn.Module, optimizer: torch.optim.Optimizer, count: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.randn(4, 8, generator=generator)).square().sum().backward()
            optimizer.step()

    recipe = OptimizerRecipe(name=name, lr=0.01)
    model = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 5))
    optimizer = create_optimizer(model, recipe)
    steps(model, optimizer, 3, seed=0)
    save_state(tmp_path / "state", *pack_optimizer(optimizer))
    twin = nn.Sequential(nn.Linear(8, 6), nn.Linear(6, 5))
    twin.load_state_dict(model.state_dict())
    other = create_optimizer(twin, recipe)
    unpack_optimizer(other, *load_state(tmp_path / "state"))
    for before, after in zip(optimizer.param_groups, other.param_groups, strict=True):
        assert {k: v for k, v in before.items() if k != "params"} == {k: v for k, v in after.items() if k != "params"}
    steps(model, optimizer, 3, seed=1)
    steps(twin, other, 3, seed=1)
    for left, right in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(left, right)


class ListingOptimizer(torch.optim.SGD):
    """Holds what timm's Kron does: tensors in lists, and the state of a generator of Python's."""

    def __init__(self, parameters: Any, seed: int) -> None:
        super().__init__(parameters, lr=0.1)
        self.chance = random.Random(seed)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"rng_state": self.chance.getstate()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        state = dict(state_dict)
        self.chance.setstate(state.pop("rng_state"))
        super().load_state_dict(state)


def test_lists_of_tensors_and_generators_survive_the_disk(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.zeros(3))
    optimizer, other = ListingOptimizer([weight], seed=0), ListingOptimizer([weight], seed=1)
    optimizer.state[weight]["factors"] = [torch.eye(2), torch.arange(3.0)]
    save_state(tmp_path / "state", *pack_optimizer(optimizer))
    unpack_optimizer(other, *load_state(tmp_path / "state"))
    assert other.chance.random() == optimizer.chance.random()
    for found, expected in zip(other.state[weight]["factors"], [torch.eye(2), torch.arange(3.0)], strict=True):
        assert torch.equal(found, expected)


def test_an_optimisers_state_lies_in_memory_as_its_parameters_do() -> None:
    def convolution() -> tuple[torch.nn.Conv2d, torch.optim.AdamW]:
        torch.manual_seed(0)
        layer = torch.nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
        return layer, torch.optim.AdamW(layer.parameters())

    layer, optimizer = convolution()
    layer(torch.ones(1, 4, 5, 5)).sum().backward()
    optimizer.step()
    tensors, values = pack_optimizer(optimizer)
    other, fresh = convolution()
    unpack_optimizer(fresh, {name: tensor.contiguous() for name, tensor in tensors.items()}, values)
    restored = fresh.state[other.weight]["exp_avg"]
    assert restored.stride() == other.weight.stride()
    assert torch.equal(restored, optimizer.state[layer.weight]["exp_avg"])
