"""Each ablation takes away its part and no other."""

from typing import Any

import pytest
import torch

from ait import AssociativeTransformer
from ait.baselines.ablations import ABLATIONS, AblatedAiT, MultiheadRetrieval
from tests.support.models.attention_reference import attend

SIZES: dict[str, Any] = {
    "img_size": 8,
    "patch_size": 4,
    "num_classes": 3,
    "global_pool": "avg",
    "embed_dim": 16,
    "depth": 2,
    "num_heads": 2,
    "memory": "published",
    "memory_args": {"num_priors": 4, "prior_dim": 8, "num_heads": 2, "bottleneck": 5},
}


def make(ablation: str) -> AblatedAiT:
    torch.manual_seed(0)
    return AblatedAiT(ablation, 2 if ablation == "reset" else None, **SIZES)


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _single_precision() -> None:
    torch.set_default_dtype(torch.float32)


def test_nothing_taken_away_is_ait() -> None:
    ablated, model = make("none"), AssociativeTransformer(**SIZES)
    names = {"patch_embed.proj.": "patch_embed.", "patch_embed.pos_embed": "pos_embed"}
    weights = {}
    for name, value in ablated.state_dict().items():
        for old, new in names.items():
            if name.startswith(old):
                name = name.replace(old, new, 1)
                break
        if name != "updates":
            weights[name] = value
    model.load_state_dict(weights)
    found, expected = ablated.train().forward_training(images()), model.train().forward_training(images())
    torch.testing.assert_close(found.logits, expected.logits)
    torch.testing.assert_close(found.balance_loss, expected.balance_loss)
    torch.testing.assert_close(ablated.eval()(images()), model.eval()(images()))


def test_parts_are_gone() -> None:
    names = {ablation: " ".join(dict(make(ablation).named_parameters())) for ablation in ABLATIONS}
    assert [ablation for ablation in ABLATIONS if ".attn.qkv" not in names[ablation]] == ["self_attention"]
    assert [ablation for ablation in ABLATIONS if "workspace" not in names[ablation]] == ["memory"]
    assert [ablation for ablation in ABLATIONS if "retrieval.attn" in names[ablation]] == ["hopfield"]
    losses = {
        ablation: float(make(ablation).train().forward_training(images()).balance_loss) for ablation in ABLATIONS
    }
    assert [ablation for ablation in ABLATIONS if not losses[ablation]] == ["memory", "balance_loss"]
    attention = make("bottleneck").blocks[0].workspace.write_attn
    assert attention.bottleneck > 10**6


def test_multi_head_attention_reads_the_priors() -> None:
    retrieval = MultiheadRetrieval(16, 8, 2)
    tokens, priors = torch.randn(2, 3, 16), torch.randn(4, 8)
    read, weights = retrieval(tokens, priors)
    torch.testing.assert_close(read[1], attend(retrieval.attn, tokens[1], priors))
    assert weights.shape == (2, 3, 4)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 3))


def test_a_memory_is_reset_every_so_many_updates() -> None:
    model, kept = make("reset").train(), make("none").train()
    for update in range(5):
        before = model.blocks[0].workspace.memory.priors.clone()
        model.forward_training(images())
        kept.forward_training(images())
        moved = (model.blocks[0].workspace.memory.priors - before).norm()
        assert (moved > 1) == (update in (2, 4))
    assert (model.updates, kept.updates) == (5, 5)


def test_what_contradicts_itself_is_refused() -> None:
    with pytest.raises(ValueError, match="hopfield"):
        AblatedAiT("everything")
    with pytest.raises(ValueError, match="reset"):
        AblatedAiT("reset")
