"""The baselines are timm models, of the published sizes where these are known."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from ait.baselines import default_cfgs
from ait.benchmark.cost import model_cost

NAMES = sorted(default_cfgs)
MEMORY = {"num_priors": 4, "prior_dim": 8, "num_heads": 2, "bottleneck": 12}
SMALL: dict[str, dict[str, Any]] = {
    "ablated": {"embed_dim": 16, "depth": 2, "num_heads": 2, "memory_args": MEMORY},
    "brims": {"embed_dim": 12, "hidden_dim": 24},
    "coordination": {"embed_dim": 16},
    "luna": {"embed_dim": 16, "depth": 2},
    "perceiver": {"embed_dim": 16, "num_latents": 4, "depth": 2, "num_heads": 2, "head_dim": 4},
    "set": {"embed_dim": 16},
}


def create(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    small = SMALL[name.split("_")[0]]
    sizes = {"img_size": 16, "num_classes": 5, **small, **changes}
    return timm.create_model(name, **sizes).eval()


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(4, 3, 16, 16)


@pytest.mark.parametrize("name", NAMES)
def test_features_head_and_forward_agree(name: str, images: torch.Tensor) -> None:
    model = create(name, drop_rate=0.3)
    features = model.forward_features(images)
    assert features.shape == (4, model.set_size, model.num_features)
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (4, model.head_hidden_size)
    torch.testing.assert_close(model(images), model.get_classifier()(pooled))
    assert model(images).shape == (4, 5)
    assert (model.num_classes, model.in_chans, model.drop_rate) == (5, 3, 0.3)
    model.reset_classifier(7, "flat")
    assert model(images).shape == (4, 7)
    model.reset_classifier(0)
    assert isinstance(model.get_classifier(), nn.Identity)
    assert model(images).shape == (4, model.head_hidden_size)
    with pytest.raises(ValueError, match="global_pool"):
        model.reset_classifier(3, "median")


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_classified_alone(name: str, images: torch.Tensor) -> None:
    model = create(name)
    torch.testing.assert_close(model(images[1:2]), model(images)[1:2])


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_learns(name: str, images: torch.Tensor) -> None:
    model = create(name).train()
    with torch.enable_grad():
        model(images).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []
    assert model.no_weight_decay() <= dict(model.named_parameters()).keys()


@pytest.mark.parametrize("name", ["luna_patch4_32", "coordination_patch4_32", "set_transformer_patch4_32"])
def test_features_of_layers_are_tokens(name: str, images: torch.Tensor) -> None:
    torch.manual_seed(0)
    sizes = {"img_size": 16, **SMALL[name.split("_")[0]]}
    model = timm.create_model(name, features_only=True, **sizes).eval()
    assert [feature.shape for feature in model(images)] == [(4, 16, 16)]
    assert model.feature_info.reduction() == [4]


@pytest.mark.parametrize("name", ["perceiver_patch4_32", "brims_patch4_32"])
def test_models_without_a_map_of_features_say_so(name: str) -> None:
    with pytest.raises(RuntimeError, match="features_only is not implemented"):
        timm.create_model(name, features_only=True)


def test_gradient_checkpointing_is_refused_as_timm_does() -> None:
    model = create("luna_patch4_32")
    model.set_grad_checkpointing(False)
    with pytest.raises(AssertionError, match="Luna has no gradient checkpointing"):
        model.set_grad_checkpointing()


def test_configurations_name_what_the_models_have(images: torch.Tensor) -> None:
    for name in NAMES:
        model = create(name, in_chans=1)
        cfg = model.pretrained_cfg
        assert cfg["input_size"] == (3, 32, 32)
        expected = {f"{part}.weight" for part in (cfg["classifier"], cfg["first_conv"]) if part}
        assert expected <= model.state_dict().keys()
        assert model(images[:, :1]).shape == (4, 5)


def test_a_saved_folder_gives_the_same_model(tmp_path: Path, images: torch.Tensor) -> None:
    model = create("luna_patch4_32")
    args = {"img_size": 16, "num_classes": 5, **SMALL["luna"]}
    save_for_hf(model, tmp_path, model_args=args, safe_serialization=True)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    torch.testing.assert_close(loaded(images), model(images))


@pytest.mark.parametrize(
    ("name", "millions"),
    [("perceiver_patch4_32", 44.9), ("set_transformer_patch4_32", 2.2), ("coordination_patch4_32", 2.2)],
)
def test_sizes_are_the_published_ones(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=10)
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.06)


def test_cost_counts_products() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 2, bias=False))
    assert model_cost(model, torch.randn(1, 3, 2, 2)) == (12 * 5 + 5 + 5 * 2, 12 * 5 + 5 * 2)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training
