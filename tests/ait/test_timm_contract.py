"""What timm's users expect of a model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import set_scriptable
from timm.models import get_notrace_functions, get_notrace_modules, save_for_hf
from timm.optim import param_groups_layer_decay
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from ait import AssociativeTransformer
from ait.associative_transformer import POOLS
from ait.memory.hopfield import KERNELS

MakeModel = Callable[..., AssociativeTransformer]
NAMES = {f"ait_{size}_{grid}" for size in ("tiny", "small", "medium", "base") for grid in ("patch4_32", "patch16_224")}
TINY: dict[str, Any] = {
    "embed_dim": 32,
    "depth": 2,
    "num_heads": 2,
    "memory_args": {"num_priors": 6, "prior_dim": 8, "num_heads": 2, "bottleneck": 12},
}
pools = pytest.mark.parametrize("pool", POOLS)


def create(**changes: Any) -> AssociativeTransformer:
    """A registered model, made small."""
    torch.manual_seed(3)
    return timm.create_model("ait_tiny_patch4_32", **{**TINY, **changes})


# The registry


def test_all_variants_are_registered() -> None:
    assert set(timm.list_models("ait_*", exclude_filters=["ait_vit_*", "ait_workspace_*", "ait_merge_*"])) == NAMES


@pytest.mark.parametrize("name", sorted(NAMES))
def test_configuration_names_what_the_model_has(name: str) -> None:
    model = timm.create_model(name, device="meta")
    cfg = model.pretrained_cfg
    side = int(name.rsplit("_", 1)[1])
    assert cfg["input_size"] == (3, side, side)
    assert model.patch_embed.img_size == (side, side)
    assert cfg["num_classes"] == model.num_classes
    assert model.global_pool == "avg"
    assert {f"{cfg['classifier']}.weight", f"{cfg['first_conv']}.weight"} <= model.state_dict().keys()


@pytest.mark.parametrize(("size", "millions"), [("small", 15.7), ("medium", 45.9), ("base", 91.0)])
def test_sizes_are_the_papers(size: str, millions: float) -> None:
    model = timm.create_model(f"ait_{size}_patch4_32", num_classes=10, global_pool="flat", device="meta")
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.02)


# Head and pooling


@pools
def test_features_head_and_forward_agree(make_model: MakeModel, images: Tensor, pool: str) -> None:
    model = make_model(global_pool=pool).eval()
    features = model.forward_features(images)
    assert features.shape == (8, 16 + model.num_prefix_tokens, 32)
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape[-1] == model.head_hidden_size
    torch.testing.assert_close(model(images), model.get_classifier()(pooled))
    assert model(images).shape == ((8, 16, 5) if pool == "" else (8, 5))
    model.reset_classifier(0)
    assert model.num_classes == 0
    torch.testing.assert_close(model(images), pooled)


@pools
@pytest.mark.parametrize("start", ["avg", "flat", "token"])
def test_classifier_can_be_replaced(make_model: MakeModel, images: Tensor, start: str, pool: str) -> None:
    model = make_model(global_pool=start).eval()
    if pool == "token" and start != "token":
        with pytest.raises(ValueError, match="class token"):
            model.reset_classifier(7, pool)
        return
    model.reset_classifier(7, pool)
    assert (model.num_classes, model.global_pool) == (7, pool)
    assert model(images).shape[-1] == 7
    assert isinstance(model.get_classifier(), nn.Linear)


def test_a_pool_that_does_not_fit_is_refused(make_model: MakeModel) -> None:
    for model in (make_model(dynamic_img_size=True), make_model(patch_drop_rate=0.5)):
        with pytest.raises(ValueError, match="flat"):
            model.reset_classifier(7, "flat")


# Intermediates


@pytest.mark.parametrize("pool", ["avg", "token"])
def test_intermediates_are_the_blocks_outputs(make_model: MakeModel, images: Tensor, pool: str) -> None:
    model = make_model(global_pool=pool, depth=3).eval()
    tokens, spatial = model.forward_intermediates(images)
    torch.testing.assert_close(tokens, model.forward_features(images))
    assert [s.shape for s in spatial] == [(8, 32, 4, 4)] * 3
    _, flat = model.forward_intermediates(images, indices=[0, 2], output_fmt="NLC", norm=True)
    assert len(flat) == 2
    torch.testing.assert_close(flat[-1], tokens[:, model.num_prefix_tokens :])
    early = model.forward_intermediates(images, indices=[0], stop_early=True, intermediates_only=True)
    torch.testing.assert_close(early[0], spatial[0])
    torch.testing.assert_close(spatial[0].flatten(2).mT, model.blocks[0](model.embed_patches(images))[:, -16:])


def test_intermediates_come_as_a_dictionary_with_prefix_tokens(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(global_pool="token").eval()
    found = model.forward_intermediates(images, output_dict=True, return_prefix_tokens=True)
    assert found.keys() == {"image_features", "image_intermediates", "image_intermediates_prefix"}
    assert [p.shape for p in found["image_intermediates_prefix"]] == [(8, 1, 32)] * 2
    pairs = model.forward_intermediates(images, return_prefix_tokens=True, intermediates_only=True)
    torch.testing.assert_close(pairs[1][1], found["image_intermediates_prefix"][1])


def test_unknown_output_format_is_refused(make_model: MakeModel, images: Tensor) -> None:
    with pytest.raises(ValueError, match="NLC"):
        make_model().forward_intermediates(images, output_fmt="NHWC")


def test_pruning_keeps_the_wanted_blocks(make_model: MakeModel, images: Tensor) -> None:
    model = make_model(depth=3).eval()
    wanted = model.forward_intermediates(images, indices=[0, 1], intermediates_only=True)
    assert model.prune_intermediate_layers([0, 1], prune_norm=True) == [0, 1]
    assert len(model.blocks) == 2
    assert isinstance(model.norm, nn.Identity)
    assert isinstance(model.head, nn.Identity)
    torch.testing.assert_close(model.forward_intermediates(images, indices=[0, 1], intermediates_only=True), wanted)


@pytest.mark.parametrize(("depth", "maps"), [(2, 2), (5, 3)])
def test_features_only_gives_maps_of_the_last_blocks(images: Tensor, depth: int, maps: int) -> None:
    model = create(depth=depth, img_size=16, features_only=True).eval()
    assert model.feature_info.channels() == [32] * maps
    assert model.feature_info.reduction() == [4] * maps
    assert [feature.shape for feature in model(images)] == [(8, 32, 4, 4)] * maps


# Optimisation


@pytest.mark.parametrize("pool", ["flat", "token", "map"])
def test_layer_decay_reaches_every_parameter_once(make_model: MakeModel, pool: str) -> None:
    model = make_model({"learn_beta": True}, global_pool=pool)
    groups = param_groups_layer_decay(
        model, weight_decay=0.05, no_weight_decay_list=model.no_weight_decay(), layer_decay=0.5
    )
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters())) == len(scale)
    assert scale[id(model.pos_embed)] < scale[id(model.blocks[0].mlp.fc1.weight)]
    assert scale[id(model.blocks[0].mlp.fc1.weight)] < scale[id(model.blocks[1].mlp.fc1.weight)]
    assert scale[id(model.blocks[1].mlp.fc1.weight)] < scale[id(model.head.weight)] == 1
    parameters = dict(model.named_parameters())
    assert (
        {"pos_embed", "blocks.0.workspace.retrieval.log_beta"}
        <= model.no_weight_decay()
        <= parameters.keys() | {"cls_token"}
    )
    assert all(decay[id(parameters[name])] == 0 for name in model.no_weight_decay() & parameters.keys())


# Input


def test_input_channels_can_differ(make_model: MakeModel) -> None:
    assert make_model(in_chans=1).eval()(torch.randn(2, 1, 16, 16)).shape == (2, 5)


def test_a_dynamic_model_takes_any_size(make_model: MakeModel) -> None:
    model = make_model(dynamic_img_size=True, dynamic_img_pad=True).eval()
    fixed = make_model().eval()
    fixed.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(model(images), fixed(images))
    assert model(torch.randn(2, 3, 24, 18)).shape == (2, 5)


@pytest.mark.parametrize("pool", ["avg", "flat", "token"])
def test_input_size_can_be_set(make_model: MakeModel, pool: str) -> None:
    model = make_model(global_pool=pool).eval()
    model.set_input_size(img_size=(24, 32))
    assert model.pos_embed.shape[1] == 6 * 8 + model.num_prefix_tokens
    assert model(torch.randn(2, 3, 24, 32)).shape == (2, 5)
    model.set_input_size(patch_size=(8, 8))
    assert model(torch.randn(2, 3, 24, 32)).shape == (2, 5)


def test_a_resized_flat_head_keeps_the_logits_of_equal_tokens(make_model: MakeModel) -> None:
    model = make_model(global_pool="flat").eval()
    with torch.no_grad():
        model.head.weight.copy_(torch.randn(5, 1, 32).expand(5, 16, 32).flatten(1))
    token = torch.randn(1, 1, 32)
    before = model.forward_head(token.expand(1, 16, 32))
    model.set_input_size(img_size=(32, 24))
    torch.testing.assert_close(model.forward_head(token.expand(1, 48, 32)), before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["flat", "avg", "token"])
def test_weights_load_at_another_image_size(tmp_path: Path, pool: str) -> None:
    small = create(img_size=16, global_pool=pool)
    torch.save(small.state_dict(), tmp_path / "weights.pt")
    overlay = {"file": str(tmp_path / "weights.pt")}
    loaded = create(img_size=32, global_pool=pool, pretrained=True, pretrained_cfg_overlay=overlay)
    assert loaded.pos_embed.shape[1] == 64 + loaded.num_prefix_tokens
    small.set_input_size(img_size=(32, 32))
    torch.testing.assert_close(loaded.state_dict(), small.state_dict())


def test_weights_of_an_oblong_grid_load_unchanged(tmp_path: Path) -> None:
    model = create(img_size=(8, 32))
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    overlay = {"file": str(tmp_path / "weights.pt")}
    loaded = create(img_size=(8, 32), pretrained=True, pretrained_cfg_overlay=overlay)
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())


@pytest.mark.parametrize("pool", ["flat", "avg"])
@pytest.mark.parametrize("size", [(32, 8), (32, 32)])
def test_weights_of_an_oblong_grid_are_resampled(tmp_path: Path, size: tuple[int, int], pool: str) -> None:
    changes = {"img_size": (8, 32), "num_classes": 5, "global_pool": pool}
    model = create(**changes)
    save_for_hf(model, tmp_path, model_args={**TINY, **changes}, safe_serialization=True)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, img_size=size)
    model.set_input_size(img_size=size)
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())


# Construction and storage


def test_models_are_made_on_any_device_in_any_dtype(make_model: MakeModel) -> None:
    meta = make_model(device="meta", dtype=torch.bfloat16, global_pool="map")
    assert {p.device.type for p in meta.parameters()} == {"meta"}
    for model in (meta, make_model(dtype=torch.bfloat16)):
        assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
        assert {b.dtype for name, b in model.named_buffers() if name.endswith("priors")} == {torch.float32}


def test_a_saved_folder_gives_the_same_model(tmp_path: Path, images: Tensor) -> None:
    changes = {"img_size": 16, "num_classes": 5}
    model = create(**changes)
    model.forward_training(images)
    save_for_hf(model, tmp_path, model_args={**TINY, **changes}, safe_serialization=True)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True)
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())
    assert torch.equal(loaded.eval()(images), model.eval()(images))


# Tracing, export, scripting


def traced(model: nn.Module) -> nn.Module:
    options = {"leaf_modules": get_notrace_modules(), "autowrap_functions": get_notrace_functions()}
    return create_feature_extractor(model, return_nodes={"head": "head"}, tracer_kwargs=options)


@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained")
@pytest.mark.parametrize("pool", ["flat", "avg", "token", "map"])
def test_a_traced_model_equals_the_eager_one(make_model: MakeModel, images: Tensor, pool: str) -> None:
    model = make_model(global_pool=pool).eval()
    assert torch.equal(traced(model)(images)["head"], model(images))


@pytest.mark.filterwarnings("ignore:NOTE. The nodes obtained")
def test_a_traced_model_trains_as_the_eager_one(make_model: MakeModel, images: Tensor) -> None:
    model, twin = make_model().train(), make_model().train()
    graph = traced(model).train()
    torch.testing.assert_close(graph(images)["head"], twin(images))
    torch.testing.assert_close(graph.state_dict(), twin.state_dict())


@pytest.mark.parametrize("pool", ["flat", "token"])
def test_an_exported_model_takes_any_batch(make_model: MakeModel, images: Tensor, pool: str) -> None:
    model = make_model(global_pool=pool).eval()
    batch = torch.export.Dim("batch")
    exported = torch.export.export(model, (images,), dynamic_shapes=({0: batch},)).module()
    for count in (2, 5, 8):
        torch.testing.assert_close(exported(images[:count]), model(images[:count]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("pool", ["flat", "map"])
def test_a_scripted_model_predicts_as_the_eager_one(
    make_model: MakeModel, images: Tensor, kernel: str, pool: str
) -> None:
    with set_scriptable(True):
        model = make_model({"retrieval": kernel, "steps": 2}, global_pool=pool).eval()
    torch.testing.assert_close(torch.jit.script(model)(images), model(images))
