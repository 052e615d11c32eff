"""Luna: linear unified nested attention, two attentions through a short extra sequence (arXiv 2106.01540)."""

from typing import Any

import torch
from timm.layers import Mlp, trunc_normal_
from torch import Tensor, nn

from ait.baselines.classifier import PatchTokens, SetClassifier
from ait.baselines.set_attention import SetAttention


class LunaLayer(nn.Module):
    """One layer (eq. 4 to 8).

    ``Y_P = Attn(P, X)`` packs, ``Y_X = Attn(X, Y_P)`` unpacks; then ``X <- LN(X + Y_X)``, ``P <- LN(P + Y_P)`` and
    ``X <- LN(X + FFN(X))``.

    Args:
        dim: Width of X and P.
        num_heads: Heads.
        hidden_dim: Hidden width of the FFN.
        last: No layer follows: the packed sequence is left as it is, for nobody reads it.
    """

    def __init__(self, dim: int, num_heads: int, hidden_dim: int, last: bool = False) -> None:
        super().__init__()
        self.pack = SetAttention(dim, num_heads)
        self.unpack = SetAttention(dim, num_heads)
        self.norm1 = nn.LayerNorm(dim)
        self.norm_packed = None if last else nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden_dim)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, packed: Tensor) -> tuple[Tensor, Tensor]:
        """Turn tokens (B, N, E) and a packed sequence (B, l, E) into the next ones."""
        pack = self.pack(packed, x)
        x = self.norm1(x + self.unpack(x, pack))
        if self.norm_packed is not None:
            packed = self.norm_packed(packed + pack)
        return self.norm2(x + self.mlp(x)), packed


class Luna(SetClassifier):
    """Luna encoder of image patches (arXiv 2106.01540).

    Args:
        img_size: Input size in pixels.
        patch_size: Patch size in pixels.
        in_chans: Input channels.
        num_classes: Classes; 0 removes the head.
        global_pool: How the tokens become one vector; see `SetClassifier`.
        embed_dim: Token width E.
        depth: Layers.
        num_heads: Heads.
        mlp_ratio: Hidden width of the FFN over E.
        num_packed: Length l of the extra sequence.
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
        depth: int = 4,
        num_heads: int = 4,
        mlp_ratio: float = 2.0,
        num_packed: int = 16,
        drop_rate: float = 0.0,
    ) -> None:
        tokens = PatchTokens(img_size, patch_size, in_chans, embed_dim, class_token=global_pool == "token")
        super().__init__(embed_dim, tokens.num_tokens, num_classes, in_chans, global_pool, drop_rate)
        self.patch_embed = tokens
        self.latents = nn.Parameter(torch.empty(1, num_packed, embed_dim))
        trunc_normal_(self.latents, std=embed_dim**-0.5)
        self.layers = nn.ModuleList(
            [
                LunaLayer(embed_dim, num_heads, int(mlp_ratio * embed_dim), last=number + 1 == depth)
                for number in range(depth)
            ]
        )
        reduction = tokens.proj.feat_ratio()
        self.feature_info: list[dict[str, Any]] = [
            {"module": f"layers.{i}.norm2", "num_chs": embed_dim, "reduction": reduction} for i in range(depth)
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into tokens (B, N, E)."""
        x = self.patch_embed(x)
        packed = self.latents.expand(len(x), -1, -1)
        for layer in self.layers:
            x, packed = layer(x, packed)
        return x
