"""Set Transformer: attention through inducing points, and pooling by attention (arXiv 1810.00825)."""

from typing import Any

import torch
from timm.layers import trunc_normal_
from torch import Tensor, nn

from ait.baselines.classifier import PatchTokens, SetClassifier
from ait.baselines.set_attention import SetAttention


class MultiheadAttentionBlock(nn.Module):
    """MAB (eq. 6, 7): ``H = LN(X + Multihead(X, Y, Y))``, ``MAB(X, Y) = LN(H + relu(H W))``.

    Args:
        dim: Width of X and Y.
        num_heads: Heads.
    """

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.attn = SetAttention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, rows: Tensor, source: Tensor) -> Tensor:
        """Let rows (B, M, E) read a source (B, N, E); returns (B, M, E)."""
        hidden = self.norm1(rows + self.attn(rows, source))
        return self.norm2(hidden + self.mlp(hidden).relu())


class InducedSetAttentionBlock(nn.Module):
    """ISAB (eq. 9, 10): ``H = MAB(I, X)``, ``ISAB(X) = MAB(X, H)``, with learned inducing points I.

    Args:
        dim: Width of X.
        num_heads: Heads.
        num_inducing: Inducing points m.
    """

    def __init__(self, dim: int, num_heads: int, num_inducing: int) -> None:
        super().__init__()
        self.inducing = nn.Parameter(torch.empty(1, num_inducing, dim))
        nn.init.xavier_uniform_(self.inducing)
        self.read = MultiheadAttentionBlock(dim, num_heads)
        self.write = MultiheadAttentionBlock(dim, num_heads)

    def forward(self, rows: Tensor) -> Tensor:
        """Let rows (B, N, E) attend to each other through the inducing points; the shape stays."""
        return self.write(rows, self.read(self.inducing.expand(len(rows), -1, -1), rows))


class AttentionPooling(nn.Module):
    """PMA (eq. 11): ``PMA_k(Z) = MAB(S, relu(Z W))``, with k learned seeds S.

    Args:
        dim: Width of Z.
        num_heads: Heads.
        num_seeds: Seeds k.
    """

    def __init__(self, dim: int, num_heads: int, num_seeds: int) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.empty(1, num_seeds, dim))
        trunc_normal_(self.seeds, std=dim**-0.5)
        self.mlp = nn.Linear(dim, dim)
        self.block = MultiheadAttentionBlock(dim, num_heads)

    def forward(self, rows: Tensor) -> Tensor:
        """Pool rows (B, N, E) to (B, k, E)."""
        return self.block(self.seeds.expand(len(rows), -1, -1), self.mlp(rows).relu())


class SetTransformer(SetClassifier):
    """Set Transformer of image patches: ISABs, PMA, SABs (arXiv 1810.00825, section 3.3).

    Args:
        img_size: Input size in pixels.
        patch_size: Patch size in pixels.
        in_chans: Input channels.
        num_classes: Classes; 0 removes the head.
        global_pool: How the pooled vectors become one; see `SetClassifier`.
        embed_dim: Token width E.
        depth: ISABs of the encoder.
        num_heads: Heads.
        num_inducing: Inducing points of an ISAB.
        num_seeds: Vectors that the PMA pools to.
        decoder_depth: SABs after the PMA.
        drop_rate: Dropout before the head.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        embed_dim: int = 256,
        depth: int = 2,
        num_heads: int = 4,
        num_inducing: int = 16,
        num_seeds: int = 4,
        decoder_depth: int = 1,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__(embed_dim, num_seeds, num_classes, in_chans, global_pool, drop_rate)
        self.patch_embed = PatchTokens(img_size, patch_size, in_chans, embed_dim)
        self.encoder = nn.Sequential(
            *[InducedSetAttentionBlock(embed_dim, num_heads, num_inducing) for _ in range(depth)]
        )
        self.pool = AttentionPooling(embed_dim, num_heads, num_seeds)
        self.decoder = nn.ModuleList([MultiheadAttentionBlock(embed_dim, num_heads) for _ in range(decoder_depth)])
        reduction = self.patch_embed.proj.feat_ratio()
        self.feature_info: list[dict[str, Any]] = [
            {"module": f"encoder.{i}", "num_chs": embed_dim, "reduction": reduction} for i in range(depth)
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into pooled vectors (B, k, E)."""
        x = self.pool(self.encoder(self.patch_embed(x)))
        for block in self.decoder:
            x = block(x, x)
        return x
