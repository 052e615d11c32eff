"""The memories under trial: what each reads, and what an intervention leaves of it."""

import pytest
import torch
import torch.nn.functional as F
from timm.layers import Attention
from torch import Tensor

from training.experiments.blocks.memories import (
    ClassPriors,
    DatasetMemory,
    PriorKeys,
    intervention,
)


@pytest.fixture
def tokens() -> Tensor:
    return torch.randn(2, 9, 16)


def test_prior_keys_are_attended_to_like_tokens(tokens: Tensor) -> None:
    attn, priors = Attention(16, num_heads=2, qkv_bias=True), PriorKeys(16, 5)
    q, k, v = attn.qkv(tokens).unflatten(-1, (3, 2, 8)).unbind(2)
    both = [
        torch.cat([own, more.expand(2, -1, -1).unflatten(-1, (2, 8))], 1)
        for own, more in ((k, priors.keys), (v, priors.values))
    ]
    weights = (torch.einsum("bnhd,bmhd->bhnm", q, both[0]) / 8**0.5).softmax(-1)
    expected = attn.proj(torch.einsum("bhnm,bmhd->bnhd", weights, both[1]).flatten(2))
    torch.testing.assert_close(priors(attn, tokens), expected)
    with intervention(priors, "off"):
        torch.testing.assert_close(priors(attn, tokens), attn(tokens))
    torch.testing.assert_close(priors(attn, tokens), expected)


def test_a_dataset_memory_reads_the_values_of_the_nearest_keys(tokens: Tensor) -> None:
    memory = DatasetMemory(16, 6, num_priors=12, recalled=3).train()
    memory(tokens)  # the first batch gives the keys
    memory.eval()
    query = F.normalize((tokens - memory.mean) @ memory.whitening, dim=-1)
    overlap = query @ memory.keys.mT
    masked = torch.where(overlap >= overlap.topk(3, -1).values[..., -1:], overlap, -torch.inf)
    expected = (memory.log_beta.exp() * masked).softmax(-1) @ memory.values
    torch.testing.assert_close(memory(tokens), expected)


def test_a_dataset_memory_is_written_in_training_alone(tokens: Tensor) -> None:
    memory = DatasetMemory(16, 6, num_priors=4, recalled=2, rate=0.5).train()
    memory(tokens)
    before, query = memory.keys.clone(), F.normalize((tokens - memory.mean) @ memory.whitening, dim=-1).flatten(0, 1)
    memory.eval()(tokens)
    assert torch.equal(memory.keys, before)
    memory.train()(tokens)
    winner = (query @ before.mT).argmax(-1)
    for prior in range(4):
        won = query[winner == prior]
        moved = F.normalize((before[prior] + won.mean(0)) / 2, dim=-1) if len(won) else before[prior]
        torch.testing.assert_close(memory.keys[prior], moved)


def test_whitened_queries_have_no_direction_of_their_own() -> None:
    memory = DatasetMemory(8, 4, num_priors=4, recalled=2).train()
    spread = torch.linspace(1, 8, 8)
    queries = torch.randn(1, 4000, 8) * spread + 3
    memory(queries)
    white = (queries[0] - memory.mean) @ memory.whitening
    variance = white.var(0)
    assert variance.max() / variance.min() < 2  # 64 before


def test_class_priors_give_every_token_what_the_image_recalls(tokens: Tensor) -> None:
    memory = ClassPriors(16, 3)
    read, logits = memory(tokens)
    query = F.normalize(F.layer_norm(tokens, (16,)).mean(1), dim=-1)
    torch.testing.assert_close(logits, 10 * query @ F.normalize(memory.keys, dim=-1).mT)
    torch.testing.assert_close(read[:, 0], logits.softmax(-1) @ memory.values)
    with intervention(memory, "off"):
        assert not memory(tokens)[0].any()
    with intervention(memory, "equal"):
        equal = memory(tokens)[0]
    torch.testing.assert_close(equal[0], equal[1])
