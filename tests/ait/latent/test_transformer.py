"""Models with a workspace: timm's contract, what a pass computes, and what is left without the memory."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models import group_parameters, save_for_hf
from torch import Tensor, nn

from ait.benchmark.cost import model_cost
from ait.interpret.causal import causal_report, interventions, logits_under
from ait.interpret.explain import explain
from ait.latent import WorkspaceTransformer, default_cfgs
from ait.memory.associative_head import AssociativeHead

SMALL: dict[str, Any] = {
    "img_size": 16,
    "num_classes": 5,
    "embed_dim": 24,
    "num_heads": 2,
    "depth": 2,
    "num_latents": 3,
}
NAMES = sorted(default_cfgs)


def create(name: str = "ait_workspace_tiny_patch4_32", **changes: Any) -> WorkspaceTransformer:
    torch.manual_seed(0)
    model: WorkspaceTransformer = timm.create_model(name, **{**SMALL, **changes}).eval()
    return model


@pytest.fixture
def images() -> Tensor:
    return torch.randn(4, 3, 16, 16)


@pytest.mark.parametrize("name", NAMES)
def test_configurations_name_what_the_models_have(name: str) -> None:
    with torch.device("meta"):
        model = timm.create_model(name)
    cfg = model.pretrained_cfg
    assert model.patch_embed.img_size == cfg["input_size"][1:]
    assert model.num_classes == cfg["num_classes"]
    assert {f"{cfg['classifier']}.weight", f"{cfg['first_conv']}.weight"} <= model.state_dict().keys()
    assert set(timm.list_models("ait_workspace_*") + timm.list_models("ait_merge_*")) == set(NAMES)


def test_every_pass_reads_all_patches_by_its_own_priors(images: Tensor) -> None:
    model = create(passes=3)
    tokens = model.blocks(model.patch_embed(images) + model.pos_embed)
    first, second, third = model.workspace.merges
    block = model.workspace.block
    latent = block(block(block(first(tokens)) + second(tokens)) + third(tokens))
    torch.testing.assert_close(model.forward_features(images), model.norm(latent))
    torch.testing.assert_close(model(images), model.head(model.norm(latent).mean(1)))


def test_one_pass_of_competing_tokens_is_a_merge(images: Tensor) -> None:
    model = create("ait_merge_tiny_patch4_32")
    assert [merge.compete for merge in model.workspace.merges] == [True]
    tokens = model.blocks(model.patch_embed(images) + model.pos_embed)
    expected = model.workspace.block(model.workspace.merges[0](tokens))
    torch.testing.assert_close(model.forward_features(images), model.norm(expected))


def test_passes_share_their_block() -> None:
    sizes = {"img_size": 32, "patch_size": 4, "embed_dim": 192, "num_heads": 3, "depth": 1, "num_classes": 10}
    few, many, vit = (
        WorkspaceTransformer(passes=1, **sizes),
        WorkspaceTransformer(passes=4, **sizes),
        timm.create_model("vit_tiny_patch16_224", **{**sizes, "depth": 2, "class_token": False, "global_pool": "avg"}),
    )
    costs = [model_cost(model, torch.zeros(1, 3, 32, 32)) for model in (few, many, vit)]
    assert costs[1].parameters - costs[0].parameters == 3 * (2 * 16 * 192 + 2 * 192)  # priors and norms
    assert costs[1].parameters == pytest.approx(costs[2].parameters, rel=0.04)
    assert costs[1].multiply_adds == pytest.approx(costs[2].multiply_adds, rel=0.02)


@pytest.mark.parametrize("head", ["linear", "associative"])
def test_classifiers_are_replaced_by_their_like(head: str, images: Tensor) -> None:
    model = create(head=head, head_args={"num_priors": 2} if head == "associative" else None)
    kind = AssociativeHead if head == "associative" else nn.Linear
    assert isinstance(model.get_classifier(), kind)
    model.reset_classifier(7)
    assert isinstance(model.get_classifier(), kind)
    assert model(images).shape == (4, 7)
    model.reset_classifier(0)
    assert model(images).shape == (4, 24)


def test_what_does_not_go_together_is_refused() -> None:
    for changes, message in (
        ({"passes": 0}, "passes"),
        ({"num_latents": 0}, "num_latents"),
        ({"head": "round"}, "'round'"),
    ):
        with pytest.raises(ValueError, match=message):
            create(**changes)


def test_every_parameter_learns(images: Tensor) -> None:
    for changes in ({}, {"head": "associative"}, {"grad_checkpointing": True}):
        checkpointed = changes.pop("grad_checkpointing", False)
        model = create(**changes).train()
        model.set_grad_checkpointing(checkpointed)
        with torch.enable_grad():
            model(images).square().sum().backward()
        assert [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()] == []
        assert model.no_weight_decay() <= dict(model.named_parameters()).keys()


def test_the_workspace_is_a_layer_after_the_blocks() -> None:
    model = create()
    layers = group_parameters(model, model.group_matcher(), reverse=True)
    depth = {name: layer for name, layer in layers.items()}
    assert depth["blocks.1.norm1.weight"] < depth["workspace.merges.3.keys"] <= depth["head.weight"]
    assert depth["workspace.block.norm1.weight"] == depth["workspace.merges.0.values"]


def test_intermediates_are_tokens_of_patches(images: Tensor) -> None:
    model = create()
    final, intermediates = model.forward_intermediates(images, indices=[0, 1])
    torch.testing.assert_close(final, model.forward_features(images))
    assert [tokens.shape for tokens in intermediates] == [(4, 24, 4, 4)] * 2
    named = model.forward_intermediates(images, indices=[1], output_dict=True)
    torch.testing.assert_close(named["image_features"], final)
    assert len(named["image_intermediates"]) == 1
    features = timm.create_model("ait_workspace_tiny_patch4_32", features_only=True, **SMALL).eval()
    assert [tokens.shape for tokens in features(images)] == [(4, 24, 4, 4)] * 2


def test_a_saved_folder_gives_the_same_model(tmp_path: Path, images: Tensor) -> None:
    model = create(head="associative")
    save_for_hf(model, tmp_path, model_args={**SMALL, "head": "associative"}, safe_serialization=True)
    loaded = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    torch.testing.assert_close(loaded(images), model(images))


def saved(tmp_path: Path, **changes: Any) -> tuple[WorkspaceTransformer, str]:
    """A model, and the folder that it is saved in, as timm names it."""
    model = create(**changes)
    save_for_hf(model, tmp_path, model_args={**SMALL, **changes}, safe_serialization=True)
    return model, f"local-dir:{tmp_path}"


def test_weights_fit_images_and_patches_of_other_sizes(tmp_path: Path) -> None:
    model, folder = saved(tmp_path)
    for changes, grid in (({"img_size": 32}, 8), ({"patch_size": 8}, 2)):
        other = timm.create_model(folder, pretrained=True, **changes)
        torch.testing.assert_close(other.workspace.state_dict(), model.workspace.state_dict())
        expected = resample_abs_pos_embed(model.pos_embed, [grid, grid], num_prefix_tokens=0)
        torch.testing.assert_close(other.pos_embed, expected)


@pytest.mark.parametrize("head", ["linear", "associative"])
def test_an_associative_head_starts_anew_on_other_classes(tmp_path: Path, head: str) -> None:
    model, folder = saved(tmp_path, head=head)
    other = timm.create_model(folder, pretrained=True, num_classes=3, head="associative")
    torch.testing.assert_close(other.workspace.state_dict(), model.workspace.state_dict())
    assert other.get_classifier().priors().shape == (3, 4, 24)


def test_weights_of_an_associative_head_are_refused_by_a_linear_one(tmp_path: Path) -> None:
    _, folder = saved(tmp_path, head="associative")
    with pytest.raises(ValueError, match="head='associative'"):
        timm.create_model(folder, pretrained=True, head="linear")


@pytest.mark.parametrize(
    "changes",
    [
        {"norm_layer": "rmsnorm", "act_layer": "relu"},
        {"proj_bias": False},
        {"scale_attn_norm": True, "scale_mlp_norm": True},
        {"attn_layer": "diff"},
    ],
)
def test_the_block_of_the_workspace_is_as_the_others(changes: dict[str, Any], images: Tensor) -> None:
    model = create(**changes)
    inner, outer = model.workspace.block, model.blocks[0]
    assert inner.state_dict().keys() == outer.state_dict().keys()
    assert [type(layer) for layer in inner.modules()] == [type(layer) for layer in outer.modules()]
    assert model(images).shape == (4, 5)


def test_the_head_reads_all_latent_tokens_beside_registers(images: Tensor) -> None:
    model = create(reg_tokens=2)
    latent = model.forward_features(images)
    torch.testing.assert_close(model.forward_head(latent, pre_logits=True), latent.mean(1))


def test_weight_decay_leaves_an_associative_head_alone() -> None:
    assert {"head.weight", "head.log_beta"} <= create(head="associative").no_weight_decay()
    assert "head.weight" not in create().no_weight_decay()


# The memory


def test_without_retrieval_the_block_works_on_all_patches(images: Tensor) -> None:
    model = create(passes=2)
    tokens = model.blocks(model.patch_embed(images) + model.pos_embed)
    block = model.workspace.block
    expected = model.forward_head(model.norm(block(block(tokens) + tokens)))
    torch.testing.assert_close(logits_under(model, images, "retrieval_off"), expected)


def test_equal_priors_read_alike(images: Tensor) -> None:
    model, equal = create(), create()
    for merge in equal.workspace.merges:
        for part in (merge.keys, merge.values):
            part.data = part.data.mean(0, keepdim=True).expand_as(part).clone()
    torch.testing.assert_close(logits_under(model, images, "equal_priors"), equal(images))
    torch.testing.assert_close(logits_under(equal, images, "equal_priors"), equal(images))
    assert not torch.allclose(logits_under(model, images, "shuffled_priors"), model(images))


def test_a_report_tells_what_each_memory_does(images: Tensor) -> None:
    model = create(head="associative")
    blocks, head = ["retrieval_off", "equal_priors", "shuffled_priors"], ["equal_classes", "shuffled_classes"]
    assert list(interventions(model)) == [*blocks, *head, "one_prior_a_class"]
    before = model(images)
    report = causal_report(model, images, torch.arange(4))
    assert set(report.effects) == set(interventions(model))
    assert report.norm_ratios == ()
    assert torch.equal(model(images), before)


def test_an_explanation_adds_up_and_tells_the_answer_without_the_memory(images: Tensor) -> None:
    model = create()
    found = explain(model, images[:1])
    assert found.without_retrieval is not None
    torch.testing.assert_close(found.without_retrieval, logits_under(model, images[:1], "retrieval_off")[0])
    assert found.blocks == ()
    assert found.patch_map is not None
    assert found.patch_map.values.shape == (4, 4)
    assert found.patch_map.method == "contribution"
