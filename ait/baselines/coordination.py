"""Coordination: a transformer whose tokens talk through a shared workspace, and its companions (arXiv 2103.01197)."""

from collections.abc import Callable
from typing import Any, Final

from timm.layers import Mlp
from torch import Tensor, nn

from ait.baselines.classifier import PatchTokens, SetClassifier
from ait.baselines.set_attention import SetAttention
from ait.baselines.set_transformer import InducedSetAttentionBlock
from ait.baselines.shared_workspace import SharedWorkspace

COMMUNICATIONS: Final = ("workspace", "self", "induced")


class CoordinationLayer(nn.Module):
    """Communication between tokens, then an FFN, each added and normalised: ``X <- LN(X + f(X))``.

    Args:
        dim: Token width E.
        num_heads: Heads.
        hidden_dim: Hidden width of the FFN.
        communication: ``workspace``; ``self`` (pairwise attention); ``induced`` (through inducing points).
        num_slots: Slots of the workspace, or inducing points.
        top_k: Tokens that win a write into the workspace, or that a token attends to; None: all.

    Raises:
        ValueError: If the communication is unknown.
    """

    def __init__(
        self, dim: int, num_heads: int, hidden_dim: int, communication: str, num_slots: int, top_k: int | None
    ) -> None:
        super().__init__()
        if communication not in COMMUNICATIONS:
            raise ValueError(f"Unknown communication {communication!r}; choose one of {', '.join(COMMUNICATIONS)}.")
        self.workspace = SharedWorkspace(dim, num_heads, num_slots, top_k) if communication == "workspace" else None
        self.attn = SetAttention(dim, num_heads, top_k=top_k) if communication == "self" else None
        self.induced = InducedSetAttentionBlock(dim, num_heads, num_slots) if communication == "induced" else None
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden_dim, act_layer=nn.ReLU)
        self.norm2 = nn.LayerNorm(dim)

    def forward(self, x: Tensor, slots: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Turn tokens (B, N, E) and slots (B, S, E), None without a workspace, into the next ones."""
        if self.workspace is not None and slots is not None:
            heard, slots = self.workspace(x, slots)
        elif self.attn is not None:
            heard = self.attn(x, x)
        elif self.induced is not None:
            heard = self.induced(x)
        else:
            raise ValueError("A workspace needs slots.")
        x = self.norm1(x + heard)
        return self.norm2(x + self.mlp(x)), slots


class CoordinationEncoder(nn.Module):
    """A stack of layers, one layer applied ``depth`` times where weights are shared.

    Args:
        depth: Times that a layer is applied.
        share: True: all of them are one layer.
        make_layer: Makes a layer.
    """

    def __init__(self, depth: int, share: bool, make_layer: Callable[[], CoordinationLayer]) -> None:
        super().__init__()
        self.depth = depth
        self.layers = nn.ModuleList([make_layer() for _ in range(1 if share else depth)])

    def forward(self, x: Tensor) -> Tensor:
        """Turn tokens (B, N, E) into tokens (B, N, E); the slots live for one image."""
        first = self.layers[0]
        assert isinstance(first, CoordinationLayer)
        slots = None if first.workspace is None else first.workspace.initial_slots(len(x))
        for number in range(self.depth):
            x, slots = self.layers[number % len(self.layers)](x, slots)
        return x


class Coordination(SetClassifier):
    """Transformer with a shared workspace in place of pairwise attention (arXiv 2103.01197).

    The paper's TR+HSW by default: 4 layers that share their weights, width 256, 4 heads, FFN 512, 8 slots. Its
    companions: ``top_k=None`` is TR+SSW; ``communication="self"`` is TR, with ``top_k`` STR, with ``share=False``
    TR+HC; ``communication="induced"`` is ISAB.

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
        communication: ``workspace``, ``self`` or ``induced``.
        num_slots: Slots, or inducing points.
        top_k: Winners of a write, 20 for Triangle and 5 for Sort-of-CLEVR in the paper; None: all.
        share: True: the layers share their weights.
        drop_rate: Dropout before the head.

    Raises:
        ValueError: If the communication is unknown.
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
        communication: str = "workspace",
        num_slots: int = 8,
        top_k: int | None = 20,
        share: bool = True,
        drop_rate: float = 0.0,
    ) -> None:
        tokens = PatchTokens(img_size, patch_size, in_chans, embed_dim, class_token=global_pool == "token")
        super().__init__(embed_dim, tokens.num_tokens, num_classes, in_chans, global_pool, drop_rate)
        self.patch_embed = tokens
        hidden = int(mlp_ratio * embed_dim)
        self.encoder = CoordinationEncoder(
            depth,
            share,
            lambda: CoordinationLayer(embed_dim, num_heads, hidden, communication, num_slots, top_k),
        )
        reduction = tokens.proj.feat_ratio()
        self.feature_info: list[dict[str, Any]] = [
            {"module": f"encoder.layers.{i}.norm2", "num_chs": embed_dim, "reduction": reduction}
            for i in range(len(self.encoder.layers))
        ]

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into tokens (B, N, E)."""
        return self.encoder(self.patch_embed(x))
