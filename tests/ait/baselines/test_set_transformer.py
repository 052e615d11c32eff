"""MAB, ISAB and PMA are the equations of arXiv 1810.00825."""

import torch
from torch import Tensor

from ait.baselines.set_attention import SetAttention
from ait.baselines.set_transformer import (
    AttentionPooling,
    InducedSetAttentionBlock,
    MultiheadAttentionBlock,
    SetTransformer,
)
from tests.support.models.attention_reference import attend, normalise, project


def mab(block: MultiheadAttentionBlock, rows: Tensor, source: Tensor) -> Tensor:
    hidden = normalise(rows + attend(block.attn, rows, source), block.norm1)
    return normalise(hidden + torch.clamp(project(hidden, block.mlp.weight, block.mlp.bias), min=0), block.norm2)


def test_attention_reads_the_largest_scores_of_each_head() -> None:
    rows, source = torch.randn(2, 3, 8), torch.randn(2, 5, 6)
    for top_k in (None, 1, 2, 5, 9):
        layer = SetAttention(8, 2, source_dim=6, head_dim=3, top_k=top_k)
        expected = torch.stack([attend(layer, r, s) for r, s in zip(rows, source, strict=True)])
        torch.testing.assert_close(layer(rows, source), expected)


def test_blocks_are_the_papers_equations() -> None:
    rows = torch.randn(2, 5, 8)
    induced, pooling = InducedSetAttentionBlock(8, 2, 3), AttentionPooling(8, 2, 2)
    for image, found, pooled in zip(rows, induced(rows), pooling(rows), strict=True):
        torch.testing.assert_close(found, mab(induced.write, image, mab(induced.read, induced.inducing[0], image)))
        keys = torch.clamp(project(image, pooling.mlp.weight, pooling.mlp.bias), min=0)
        torch.testing.assert_close(pooled, mab(pooling.block, pooling.seeds[0], keys))


def test_a_set_has_no_order() -> None:
    model = SetTransformer(16, 4, num_classes=3, embed_dim=8, num_heads=2, num_inducing=3, num_seeds=2).eval()
    tokens = torch.randn(2, 16, 8)
    pooled = model.pool(model.encoder(tokens))
    assert pooled.shape == (2, 2, 8)
    torch.testing.assert_close(model.pool(model.encoder(tokens[:, torch.randperm(16)])), pooled)
