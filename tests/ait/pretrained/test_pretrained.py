"""The bundled checkpoint: found offline, by timm and by name, with a memory that works."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.data import resolve_model_data_config

from ait import AssociativeTransformer
from ait.interpret.memory_report import memory_report
from ait.memory.associative_head import AssociativeHead
from ait.pretrained import load_model
from ait_lite.checkpoint import CheckpointError, bundled_models, resolve

NAME = "ait_tiny_patch4_32.cifar10"


@pytest.fixture(scope="module")
def model() -> AssociativeTransformer:
    loaded = load_model(NAME)
    assert isinstance(loaded, AssociativeTransformer)
    return loaded


def test_timm_finds_the_bundled_weights(model: AssociativeTransformer) -> None:
    assert NAME in timm.list_pretrained("ait_*")
    by_timm = timm.create_model(NAME, pretrained=True).eval()
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(by_timm(images), model(images))
    config = {"mean", "std", "interpolation", "crop_pct", "input_size"}
    ours, theirs = resolve_model_data_config(model), resolve_model_data_config(by_timm)
    for key in config:
        assert ours[key] == pytest.approx(theirs[key]) if key in ("mean", "std") else ours[key] == theirs[key]


def test_its_classes_have_names(model: AssociativeTransformer) -> None:
    names = model.pretrained_cfg["label_names"]
    assert len(names) == model.num_classes == 10
    assert "frog" in names


def test_its_weights_take_at_most_ten_megabytes() -> None:
    assert (bundled_models()[NAME] / "model.safetensors").stat().st_size <= 10e6


def test_it_comes_with_a_card() -> None:
    assert "What it cannot do" in (bundled_models()[NAME] / "README.md").read_text()


def test_its_memories_hold_many_distinct_priors(model: AssociativeTransformer) -> None:
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    for block in memory_report(model, images):
        assert block.effective_rank_priors >= 12
        assert block.effective_rank_patterns >= 11
    for module in model.associative_blocks():
        norms = module.workspace.memory.priors.norm(dim=-1)
        torch.testing.assert_close(norms, torch.ones_like(norms))
    assert isinstance(model.head, AssociativeHead)
    priors = model.head.priors()  # (10, 4, 192)
    cosines = torch.einsum("ckf,clf->ckl", priors, priors)
    assert (cosines - torch.eye(4)).amax() < 0.5


@pytest.mark.parametrize(
    "changes",
    [
        {"num_classes": 5},
        {"num_classes": 5, "head": "linear", "global_pool": "flat"},
        {"num_classes": 0},
        {"in_chans": 1},
        {"img_size": 48},
    ],
)
def test_it_is_a_start_for_other_tasks(changes: dict[str, Any], model: AssociativeTransformer) -> None:
    changed = timm.create_model(NAME, pretrained=True, **changes).eval()
    size = changes.get("img_size", 32)
    features = changed.forward_features(torch.zeros(1, changed.in_chans, size, size))
    assert features.shape == (1, (size // 4) ** 2, 192)
    torch.testing.assert_close(changed.blocks[0].attn.qkv.weight, model.blocks[0].attn.qkv.weight)


def test_training_it_further_writes_its_memories(model: AssociativeTransformer) -> None:
    started = timm.create_model(NAME, pretrained=True).train()
    started(torch.randn(2, 3, 32, 32))
    for block, kept in zip(started.associative_blocks(), model.associative_blocks(), strict=True):
        assert not torch.equal(block.workspace.memory.priors, kept.workspace.memory.priors)


def test_a_missing_model_is_named_with_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=NAME):
        load_model(tmp_path / "nothing")


def test_a_checkpoint_whose_head_would_be_random_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(resolve(NAME), folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"num_classes": 5}))
    with pytest.raises(CheckpointError, match="says 5 classes in num_classes and 10 in model_args"):
        load_model(folder)
    assert load_model(NAME, num_classes=4).num_classes == 4  # a new head is what was asked for


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        (
            "model.safetensors",
            b"torn",
            r"bad: cannot be loaded \(model\.safetensors is damaged, copy it again: .*\)\.$",
        ),
        ("config.json", b"{", r"config\.json cannot be read: Expecting property name .*"),
        ("config.json", b'{"architecture": "none"}', r"bad: cannot be loaded \(.*none.*\)\.$"),
    ],
)
def test_a_damaged_checkpoint_is_refused_in_a_line(tmp_path: Path, file: str, content: bytes, message: str) -> None:
    folder = tmp_path / "bad"
    shutil.copytree(resolve("ait_tiny_patch4_32.cifar10"), folder)
    (folder / file).write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as refused:
        load_model(folder)
    assert "\n" not in str(refused.value)
