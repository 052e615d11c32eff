"""How much layers can hold: predictions, probes, and the hint they give."""

import math

import pytest
import timm
import torch
from torch.nn import functional as F

import ait  # noqa: F401  # registers the ait_* models with timm
from ait.interpret.associations import (
    answers_changed_without_memory,
    facts,
    largest,
    measure_capacity,
    recall_share,
)


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("ait_tiny_patch4_32", num_classes=3, embed_dim=32, depth=2, num_heads=2).eval()


@pytest.mark.parametrize("bound", [5.0, 1e3, 1e7])
def test_facts_solves_the_law(bound: float) -> None:
    count = facts(bound)
    assert count * math.log(count) <= bound < (count + 1) * math.log(count + 1)


@pytest.mark.parametrize("true", [1, 2, 37, 1000, 5000])
def test_largest_finds_the_bound_within_three_percent(true: int) -> None:
    found = largest(lambda count: count <= true, 4000)
    assert min(true, 4000) / 1.03 - 1 <= found <= min(true, 4000)


def test_orthogonal_keys_are_recalled_whole_and_too_many_are_not() -> None:
    generator = torch.Generator().manual_seed(0)
    values = F.normalize(torch.randn(2000, 16, generator=generator), dim=1)
    assert recall_share(torch.eye(64), values[:64]) == 1.0
    assert recall_share(torch.randn(2000, 32, generator=generator), values) < 0.5


def test_capacity_grows_with_the_hidden_width() -> None:
    held = []
    for ratio in (1, 4):
        torch.manual_seed(0)
        args = {"img_size": 16, "patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2, "mlp_ratio": ratio}
        result = measure_capacity(timm.create_model("vit_tiny_patch16_224", **args).eval(), most=1024)
        assert (result.memory, result.changed, result.hint) == ((), None, "")
        held.append(result.feed_forward[0])
    assert held[1].probed > 2 * held[0].probed
    assert held[0].predicted_values < held[0].predicted
    assert not held[1].bounded


def test_memories_are_probed_and_hinted_at(model: torch.nn.Module) -> None:
    images = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    before = model(images)
    result = measure_capacity(model, images, most=512)
    assert torch.equal(model(images), before)
    assert len(result.feed_forward) == len(result.memory) == 2
    found = result.memory[0]
    # What is recalled resembles the query, which theory leaves out: the noise adds up faster.
    assert found.predicted is not None
    assert found.predicted / 5 < found.probed < found.predicted
    assert not found.bounded
    assert found.in_use is not None
    assert 1 <= found.in_use <= found.priors
    assert result.changed == answers_changed_without_memory(model, images)
    assert result.hint
    assert "images can tell" in measure_capacity(model, most=512).hint


def test_a_model_without_feed_forward_networks_is_refused() -> None:
    with pytest.raises(TypeError, match="ResNet"):
        measure_capacity(timm.create_model("resnet10t", num_classes=2))
