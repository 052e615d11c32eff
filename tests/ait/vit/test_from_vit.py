"""AiT models of a ViT's shape: they answer as the ViT does, until training wakes their memories."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models import VisionTransformer, save_for_hf
from timm.models.vision_transformer import ParallelScalingBlock
from torch import Tensor, nn

import ait
from ait.interpret.causal import causal_report
from ait.interpret.explain import explain
from ait.interpret.memory_report import memory_report, trace_queries
from ait.vit.variants import vit_names

SMALL: dict[str, Any] = {
    "embed_dim": 32,
    "depth": 3,
    "num_heads": 2,
    "img_size": 32,
    "patch_size": 8,
    "num_classes": 5,
    "drop_path_rate": 0.1,
}
SHAPES: dict[str, dict[str, Any]] = {
    "class token": {},
    "average pooling": {"class_token": False, "global_pool": "avg"},
    "LayerScale, registers": {"init_values": 0.1, "reg_tokens": 2, "no_embed_class": True},
    "odd size, norms of queries and keys": {"img_size": (44, 28), "qk_norm": True, "pre_norm": True},
    "any size, attention pooling": {"dynamic_img_size": True, "dynamic_img_pad": True, "global_pool": "map"},
}
MEMORY: dict[str, Any] = {"num_priors": 6, "prior_dim": 8, "num_heads": 2, "bottleneck": 12}


def vit(**shape: Any) -> VisionTransformer:
    """A ViT as training leaves it: no parameter is at its start."""
    torch.manual_seed(1)
    model = timm.create_model("vit_tiny_patch16_224", **{**SMALL, **shape}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def associative(**shape: Any) -> Any:
    torch.manual_seed(1)
    return timm.create_model("ait_vit_tiny_patch16_224", **{**SMALL, "memory_args": MEMORY, **shape})


def images(height: int = 32, width: int = 32) -> Tensor:
    return torch.randn(4, 3, height, width, generator=torch.Generator().manual_seed(2))


def wake(model: Any, scale: float = 0.5) -> Any:
    with torch.no_grad():
        for block in model.associative_blocks():
            block.workspace.ls.gamma.fill_(scale)
    return model


# The registry


def test_timms_sizes_have_models_with_their_tags() -> None:
    for size, width in (("tiny", 192), ("small", 384), ("base", 768)):
        model = timm.create_model(f"ait_vit_{size}_patch16_224", device="meta")
        assert (model.embed_dim, len(model.blocks), model.num_classes) == (width, 12, 1000)
        assert len(model.associative_blocks()) == 12
    assert {"vit_base_patch14_reg4_dinov2", "vit_medium_patch16_gap_256", "vit_base_patch16_siglip_224"} <= set(
        vit_names()
    )
    config = timm.get_pretrained_cfg("ait_vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert config is not None
    assert config.hf_hub_id == "timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert config.architecture == "ait_vit_tiny_patch16_224"


@pytest.mark.parametrize("name", ["vit_small_patch14_reg4_dinov2", "vit_wee_patch16_reg1_gap_256"])
def test_the_shape_is_timms(name: str) -> None:
    with torch.device("meta"):
        theirs, own = timm.create_model(name), timm.create_model(f"ait_{name}")
    of_memory = (".workspace.", ".memory_norm.")
    shapes = {
        key: value.shape for key, value in own.state_dict().items() if not any(part in key for part in of_memory)
    }
    assert shapes == {key: value.shape for key, value in theirs.state_dict().items()}
    assert own.global_pool == theirs.global_pool


# From a ViT


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_the_model_answers_as_the_vit(shape: dict[str, Any]) -> None:
    theirs = vit(**shape)
    own = ait.from_vit(theirs, memory_args=MEMORY).eval()
    height, width = theirs.patch_embed.img_size
    batch = images(height, width)
    torch.testing.assert_close(own(batch), theirs(batch), rtol=0, atol=1e-5)
    torch.testing.assert_close(own.forward_head(trace_queries(own, batch).tokens), theirs(batch), rtol=0, atol=1e-5)
    if shape.get("dynamic_img_size"):
        torch.testing.assert_close(own(images(40, 27)), theirs(images(40, 27)), rtol=0, atol=1e-5)


def test_it_starts_from_a_folder_and_is_kept_in_one(tmp_path: Path) -> None:
    theirs = vit(init_values=0.1)
    save_for_hf(theirs, tmp_path / "vit", safe_serialization=True)
    own = ait.from_vit(tmp_path / "vit", memory_blocks=2, memory_args=MEMORY).eval()
    torch.testing.assert_close(own(images()), theirs(images()), rtol=0, atol=1e-5)
    wake(own).train()(images())  # writes the memory
    save_for_hf(own, tmp_path / "ait", safe_serialization=True)
    again = timm.create_model(f"local-dir:{tmp_path / 'ait'}", pretrained=True)
    torch.testing.assert_close(again.state_dict(), own.state_dict())
    assert len(again.associative_blocks()) == 2
    larger = ait.from_vit(tmp_path / "vit", img_size=48, num_classes=3, memory_args=MEMORY).eval()
    theirs.set_input_size(img_size=(48, 48))
    expected = theirs.forward_features(images(48, 48))
    torch.testing.assert_close(larger.forward_features(images(48, 48)), expected, rtol=0, atol=1e-5)
    assert larger.num_classes == 3


def test_it_starts_from_a_file_in_timms_way(tmp_path: Path) -> None:
    theirs = vit(patch_size=16)
    torch.save(theirs.state_dict(), tmp_path / "weights.pt")
    overlay = {"file": str(tmp_path / "weights.pt"), "num_classes": 5}
    own = associative(patch_size=16, pretrained=True, pretrained_cfg_overlay=overlay).eval()
    torch.testing.assert_close(own(images()), theirs(images()), rtol=0, atol=1e-5)


def test_what_is_no_vit_is_refused(tmp_path: Path) -> None:
    save_for_hf(timm.create_model("test_resnet", num_classes=2), tmp_path, safe_serialization=True)
    with pytest.raises(ValueError, match="test_resnet has no AiT model"):
        ait.from_vit(tmp_path)
    with pytest.raises(ValueError, match="ParallelScalingBlock"):
        associative(block_fn=ParallelScalingBlock)
    with pytest.raises(ValueError, match="from 1 to 3"):
        associative(memory_blocks=4)


# Training


@pytest.mark.parametrize("memory_blocks", [None, 1])
def test_training_wakes_the_memory(memory_blocks: int | None) -> None:
    model = associative(memory_blocks=memory_blocks).train()
    blocks = model.associative_blocks()
    assert len(blocks) == (memory_blocks or 3)
    priors = blocks[-1].workspace.memory.priors.clone()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    output = model.forward_training(images())
    assert output.usage.shape == (len(blocks), 6)
    output.logits.square().sum().backward()
    assert all(block.workspace.ls.gamma.grad.abs().max() > 0 for block in blocks)
    optimiser.step()
    optimiser.zero_grad()
    assert not torch.equal(blocks[-1].workspace.memory.priors, priors)
    model.forward_training(images()).logits.square().sum().backward()
    # From the second step on, the loss reaches every parameter.
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []
    assert all(block.scale > 0 for block in memory_report(model, images()))


def test_recomputation_writes_once_and_changes_nothing() -> None:
    model, twin = (wake(associative(memory_blocks=2, drop_path_rate=0.0)).train() for _ in range(2))
    twin.set_grad_checkpointing()
    for each in (model, twin):
        each(images()).square().sum().backward()
    torch.testing.assert_close(twin.state_dict(), model.state_dict())
    for parameter, same in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, same.grad)


# What a memory's owner may ask


def test_a_woken_memory_is_reported_explained_and_taken_away() -> None:
    model = wake(associative(memory_blocks=2)).eval()
    assert [block.scale for block in memory_report(model, images())] == [0.5, 0.5]
    told = causal_report(model, images(), torch.arange(4))
    assert told.effects["retrieval_off"].loss_change != 0
    # What a patch retrieves stands beside what the MLP says, not beside the query, which is normalised.
    block, tokens = model.blocks[1], model.blocks[0](model.embed_patches(images()))
    _, said = block.encode(tokens)
    retrieved, _ = block.workspace.read(block.memory_norm(said), block.workspace.memory.priors)
    ratio = retrieved[:, 1:].norm(dim=-1) / block.ls2(said)[:, 1:].norm(dim=-1)
    assert told.norm_ratios[0] == pytest.approx(float(ratio.mean().detach()), rel=1e-4)
    explained = explain(model, images()[:1])
    assert len(explained.blocks) == 2
    assert explained.blocks[0].energy_before.shape == (16,)


# timm's contract


def test_it_is_compiled_and_exported_as_a_whole() -> None:
    model = wake(associative(memory_blocks=2)).eval()
    expected = model(images())
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(images()), expected)
    exported = torch.export.export(model, (images(),), dynamic_shapes=({0: torch.export.Dim("batch")},)).module()
    torch.testing.assert_close(exported(images()[:3]), expected[:3])


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning", "ignore:.*torch.jit.*:FutureWarning")
def test_a_scripted_model_predicts_as_the_eager_one() -> None:
    model = wake(associative(memory_blocks=2, scriptable=True)).eval()
    torch.testing.assert_close(torch.jit.script(model)(images()), model(images()))


def test_the_head_the_size_and_the_features_change_as_timms_do() -> None:
    model = associative().eval()
    model.reset_classifier(7)
    model.set_input_size(img_size=(48, 32))
    assert model(images(48, 32)).shape == (4, 7)
    assert isinstance(model.get_classifier(), nn.Linear)
    features = associative(features_only=True).eval()(images())
    assert [feature.shape for feature in features] == [(4, 32, 4, 4)] * 3
