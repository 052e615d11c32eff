"""The workspace: when it writes, what it retrieves, and the balance loss."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ait.memory import WRITE_RULES, retrieve
from ait.memory.hopfield import KERNELS
from ait.workspace import MEMORIES, GlobalWorkspace, MemoryConfig, memory_config

SMALL = {"num_priors": 6, "prior_dim": 8, "num_heads": 2, "bottleneck": 12}


def make(name: str = "orthogonal", **changes: Any) -> GlobalWorkspace:
    return GlobalWorkspace(16, memory_config(name, **{**SMALL, **changes}))


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(3, 10, 16)


@pytest.mark.parametrize("name", MEMORIES)
@pytest.mark.parametrize("rule", WRITE_RULES)
def test_a_write_changes_priors_and_leaves_them_unit_float32(name: str, rule: str, tokens: Tensor) -> None:
    workspace = make(name, write_rule=rule)
    before = workspace.memory.priors
    after, _ = workspace.write(tokens, before)
    assert after.dtype == torch.float32
    assert not torch.allclose(after, before)
    torch.testing.assert_close(after.norm(dim=-1), torch.ones(6))


def test_published_write_is_the_papers(tokens: Tensor) -> None:
    workspace = make("published")
    priors = workspace.memory.priors
    read, _ = workspace.write_attn(priors, tokens.flatten(0, 1))
    candidate = F.layer_norm(read + priors, (8,))
    expected = F.normalize(0.9 * priors + 0.1 * candidate, dim=-1)
    torch.testing.assert_close(workspace.write(tokens, priors)[0], expected)


@pytest.mark.parametrize("kernel", KERNELS)
def test_tokens_are_retrieved_from_the_priors_just_written(kernel: str, tokens: Tensor) -> None:
    workspace = make(retrieval=kernel, steps=2, scale=0.5).train()
    retrieved, priors, _, usage = workspace(tokens, workspace.memory.priors)
    torch.testing.assert_close(priors, workspace.write(tokens, workspace.memory.priors)[0])
    patterns = workspace.retrieval.patterns(priors)
    expected = 0.5 * retrieve(tokens, patterns, workspace.retrieval.beta(), kernel, steps=2)
    torch.testing.assert_close(retrieved, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(usage.sum(), torch.tensor(1.0))


@pytest.mark.parametrize("weight", [0.0, 1.0, 10.0])
def test_balance_adds_unevenness_and_entropy_of_recall_to_the_unevenness_of_writing(
    weight: float, tokens: Tensor
) -> None:
    workspace = make(balance_recall=weight).train()
    _, priors, balance, usage = workspace(tokens, workspace.memory.priors)
    patches = workspace.retrieval.weights(tokens, priors).flatten(0, 1)
    recall = patches.mean(0)
    torch.testing.assert_close(usage, recall)
    unevenness = recall.var(unbiased=False) / recall.mean() ** 2
    entropy = -(patches * patches.log()).sum(-1).mean()
    excess = (entropy - max(math.log(len(priors) / 6), 0)).clamp_min(0)
    writing = workspace.write(tokens, workspace.memory.priors)[1]
    torch.testing.assert_close(balance, writing + weight * (unevenness + excess))


@pytest.mark.parametrize("kernel", KERNELS)
def test_recall_sharp_enough_to_underflow_has_finite_gradients(kernel: str, tokens: Tensor) -> None:
    workspace = make(retrieval=kernel, beta=1e4, learn_beta=True).train()
    retrieved, priors, balance, _ = workspace(tokens, workspace.memory.priors)
    assert (workspace.retrieval.weights(tokens, priors) == 0).any()
    (retrieved.square().mean() + balance).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in workspace.parameters())


def test_evaluation_only_reads(tokens: Tensor) -> None:
    workspace = make().eval()
    assert not workspace.writes()
    _, priors, balance, _ = workspace(tokens, workspace.memory.priors)
    assert torch.equal(priors, workspace.memory.priors)
    assert balance == 0


def test_an_adaptive_memory_writes_in_evaluation_and_says_so(tokens: Tensor) -> None:
    workspace = make(adaptive=True).eval()
    assert workspace.writes()
    assert not torch.equal(workspace(tokens, workspace.memory.priors)[1], workspace.memory.priors)


@pytest.mark.parametrize("name", MEMORIES)
def test_settings_survive_as_plain_values(name: str) -> None:
    config = memory_config(name, bottleneck=7)
    assert config == replace(MEMORIES[name], bottleneck=7)
    assert MemoryConfig(**config.to_dict()) == config  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"name": "hopfield"}, "orthogonal, published"),
        ({"priors": 3}, "priors"),
        ({"target_normalisation": "batch"}, "orthogonal"),
        ({"write_rule": "oja"}, "ewma"),
        ({"retrieval": "cosine"}, "d1"),
        ({"num_priors": 0}, "num_priors"),
        ({"num_priors": 1}, "num_priors"),
        ({"bottleneck": 0}, "bottleneck"),
        ({"beta": 0.0}, "beta"),
        ({"write_rate": 2.0}, "write_rate"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**wrong)
