"""Optimiser, schedule, averaged weights, starting points, checkpoint files and the allocator."""

import itertools
import signal
from pathlib import Path

import pytest
import timm
import timm.optim.muon
import torch
from torch import nn
from torch.nn import functional as F

from training.errors import CheckpointError, RecipeError
from training.model.whitening import whiten_patch_embedding
from training.recipe.keys import OptimizerRecipe, ScheduleRecipe
from training.run.interruption import Interruption
from training.step.average import WeightAverage
from training.step.optimiser import create_optimizer, create_schedule, float32_newton_schulz
from training.storage.checkpoint import (
    load_state,
    pack_optimizer,
    repair_folder,
    replace_folder,
    save_state,
    unpack_optimizer,
)


def small_vit() -> nn.Module:
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=16, patch_size=4, embed_dim=128, depth=1, num_heads=2, num_classes=3
    )


@pytest.mark.parametrize("name", ["adamw", "muon", "nmuon", "sgd", "lion"])
def test_norms_and_biases_are_not_decayed(name: str) -> None:
    model = small_vit()
    optimizer = create_optimizer(model, OptimizerRecipe(name=name, lr=0.1, weight_decay=0.3))
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] for p in group["params"]}
    for key, parameter in model.named_parameters():
        kept = parameter.ndim == 1 or key in model.no_weight_decay()
        assert (id(parameter) in decayed) is not kept, key


def test_optimizer_arguments_reach_timm() -> None:
    recipe = OptimizerRecipe(name="muon", args={"fallback_list": ["head*"], "fallback_lr_scale": 0.5})
    optimizer = create_optimizer(small_vit(), recipe)
    assert all(group["fallback_lr_scale"] == 0.5 for group in optimizer.param_groups)
    assert any(group.get("use_fallback") for group in optimizer.param_groups)
    with pytest.raises(RecipeError, match="optimizer 'adamw'"):
        create_optimizer(small_vit(), OptimizerRecipe(name="adamw", args={"no_such": 1}))


@pytest.mark.parametrize("kind", ["cosine", "linear"])
def test_schedule_warms_up_and_decays_with_every_update(kind: str) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.4)
    recipe = ScheduleRecipe.model_validate({"kind": kind, "warmup_epochs": 0.5, "min_lr": 0.01})
    schedule = create_schedule(optimizer, recipe, 0.4, epochs=10, steps=20)
    rates = []
    for step in range(200):
        schedule.step_update(step)
        rates.append(optimizer.param_groups[0]["lr"])
    assert 0 < rates[0] < rates[5] < rates[9]
    assert max(rates) == pytest.approx(0.4, rel=0.06)
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[11:]))
    assert rates[-1] == pytest.approx(0.01, abs=0.003)


def test_average_moves_parameters_and_leaves_buffers() -> None:
    model = nn.Linear(2, 2)
    model.register_buffer("priors", torch.zeros(3))
    average = WeightAverage(model, 0.9)
    for step in range(1, 30):
        model.priors.fill_(float(step))
        with torch.no_grad():
            model.weight.fill_(float(step))
        average.update(model, step=step)
    with average.applied(model):
        assert (model.priors == 29).all()
        assert (model.weight < 29).all()
        assert (model.weight > 1).all()
        kept = {name: value.clone() for name, value in model.state_dict().items()}
    assert (model.weight == 29).all()
    other = WeightAverage(nn.Linear(2, 2), 0.9)
    other.load(model, kept)
    with other.applied(model):
        assert torch.equal(model.weight, kept["weight"])


def test_newton_schulz_is_float32_within_and_restored_after() -> None:
    module = timm.optim.muon
    original = module.zeropower_via_newtonschulz
    gradient = torch.randn(8, 8)
    coefficients = [(3.4445, -4.7750, 2.0315)]
    assert module.zeropower_via_newtonschulz(gradient, 5, coefficients).dtype == torch.bfloat16
    with float32_newton_schulz():
        assert module.zeropower_via_newtonschulz(gradient, 5, coefficients).dtype == torch.float32
    assert module.zeropower_via_newtonschulz is original
    with pytest.raises(AssertionError), float32_newton_schulz():
        module.zeropower_via_newtonschulz(torch.zeros(1), 5, coefficients)
    assert module.zeropower_via_newtonschulz is original


def test_whitened_patch_features_are_white_and_centred() -> None:
    model = small_vit()
    colouring = torch.randn(3, 3)
    images = F.avg_pool2d(torch.randn(400, 3, 18, 18), 3, stride=1)
    images = torch.einsum("ij,njhw->nihw", colouring, images) + 1.0
    whiten_patch_embedding(model, images, scale=0.5, ridge=0.0)
    features = model.patch_embed(images).flatten(0, 1).detach()
    covariance = torch.cov(features.T)
    inputs = 3 * 4 * 4
    assert torch.allclose(covariance[:inputs, :inputs], 0.25 * torch.eye(inputs), atol=2e-3)
    assert torch.allclose(features[:, inputs : 2 * inputs], -features[:, :inputs], atol=1e-3)
    assert features.mean(dim=0).abs().max() < 1e-3
    assert covariance.diag()[2 * inputs :].mean() == pytest.approx(0.25, rel=0.3)


def test_whitening_needs_a_patch_embedding() -> None:
    with pytest.raises(RecipeError, match="patch_whitening"):
        whiten_patch_embedding(nn.Linear(2, 2), torch.zeros(1, 3, 4, 4))


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


@pytest.mark.parametrize("name", ["adamw", "nmuon", "sgd"])
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


def test_folder_is_put_back_after_a_cut_replacement(tmp_path: Path) -> None:
    folder, previous = tmp_path / "best", tmp_path / ".best-previous"
    previous.mkdir()
    (previous / "model").write_text("old")
    (tmp_path / ".best-abc").mkdir()
    repair_folder(folder)
    assert (folder / "model").read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best"]
    new = tmp_path / "new"
    new.mkdir()
    (new / "model").write_text("new")
    replace_folder(new, folder)
    assert (folder / "model").read_text() == "new"
    assert [entry.name for entry in tmp_path.iterdir()] == ["best"]


def test_second_interrupt_is_immediate_and_handlers_return() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Interruption() as interruption:
        signal.raise_signal(signal.SIGINT)
        assert interruption.signal_number == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
