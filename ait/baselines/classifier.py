"""What all baselines have in common: images become tokens, and a pooled set becomes logits, as timm's models do it."""

from typing import Any, Final

import torch
from timm.layers import PatchEmbed, global_pool_nlc, to_2tuple, trunc_normal_
from torch import Tensor, nn

POOLS: Final = ("", "avg", "max", "avgmax", "token", "flat")


class PatchTokens(nn.Module):
    """Cut images into patches, embed these, and add learned positions.

    Args:
        img_size: Input size in pixels.
        patch_size: Patch size in pixels.
        in_chans: Input channels.
        embed_dim: Token width E.
        class_token: Put a learned token before the patches.
    """

    def __init__(
        self,
        img_size: int | tuple[int, int],
        patch_size: int | tuple[int, int],
        in_chans: int,
        embed_dim: int,
        class_token: bool = False,
    ) -> None:
        super().__init__()
        patches: Any = to_2tuple(patch_size)
        self.proj = PatchEmbed(img_size, patches, in_chans, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim)) if class_token else None
        self.pos_embed = nn.Parameter(torch.empty(1, self.num_tokens, embed_dim))
        trunc_normal_(self.pos_embed, std=0.02)

    @property
    def num_tokens(self) -> int:
        """Tokens of an image, with the class token."""
        return self.proj.num_patches + (self.cls_token is not None)

    def forward(self, images: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into tokens (B, N, E)."""
        tokens = self.proj(images)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return tokens + self.pos_embed


class SetClassifier(nn.Module):
    """Classify images by a set of vectors that a subclass computes in ``forward_features``.

    Args:
        num_features: Width F of the vectors.
        set_size: How many vectors S there are, which ``flat`` joins.
        num_classes: Classes; 0 removes the head.
        in_chans: Input channels.
        global_pool: ``avg``, ``max``, ``avgmax``, ``flat``, ``token`` (the first vector), or ``''``.
        drop_rate: Dropout before the head.

    Raises:
        ValueError: If the pooling is unknown.
    """

    def __init__(
        self,
        num_features: int,
        set_size: int,
        num_classes: int,
        in_chans: int = 3,
        global_pool: str = "avg",
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_features = self.embed_dim = num_features
        self.set_size = set_size
        self.in_chans = in_chans
        self.drop_rate = drop_rate
        self.feature_info: list[dict[str, Any]] = []
        self.head_drop = nn.Dropout(drop_rate)
        self.reset_classifier(num_classes, global_pool)

    @property
    def head_hidden_size(self) -> int:
        """Width of what the classifier reads."""
        return self.num_features * (self.set_size if self.global_pool == "flat" else 1)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay leaves alone."""
        ends = ("pos_embed", "cls_token", "latents", "inducing", "seeds")
        return {name for name, _ in self.named_parameters() if name.endswith(ends)}

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Refuse gradient checkpointing, as timm's models without it do.

        Raises:
            AssertionError: If it is to be switched on.
        """
        assert not enable, f"{type(self).__name__} has no gradient checkpointing"

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """Return the classifier, linear or nothing."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier, and the pooling if one is given.

        Raises:
            ValueError: If the pooling is unknown.
        """
        if global_pool is not None:
            if global_pool not in POOLS:
                raise ValueError(f"Unknown global_pool {global_pool!r}; choose one of {', '.join(map(repr, POOLS))}.")
            self.global_pool = global_pool
        self.num_classes = num_classes
        before = next(self.parameters(), None)
        head = nn.Linear(self.head_hidden_size, num_classes) if num_classes > 0 else nn.Identity()
        if isinstance(head, nn.Linear):
            trunc_normal_(head.weight, std=0.02)
            nn.init.zeros_(head.bias)
        self.head = head if before is None else head.to(before.device, before.dtype)

    def forward_features(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into a set of vectors (B, S, F). What a subclass is, it says here."""
        raise NotImplementedError(f"{type(self).__name__} does not say how images become vectors")

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Turn vectors (B, S, F) into logits (B, num_classes), or into pooled features if ``pre_logits``."""
        if self.global_pool == "flat":
            x = x.flatten(1)
        else:
            x = global_pool_nlc(x, pool_type=self.global_pool, num_prefix_tokens=0)
        x = self.head_drop(x)
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x))
