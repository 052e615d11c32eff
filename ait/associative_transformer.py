"""Associative Transformer: a ViT whose blocks share an explicit memory with the whole batch.

Source: Associative Transformer, arXiv 2309.12862.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any, Final

import torch
import torch.nn.functional as F
from timm.layers import (
    AttentionPoolLatent,
    LayerNorm,
    LayerType,
    PatchDropout,
    PatchEmbed,
    get_act_layer,
    get_norm_layer,
    global_pool_nlc,
    resample_abs_pos_embed,
    trunc_normal_,
)
from timm.models._features import feature_take_indices
from torch import Tensor, nn

from ait.associative_model import AssociativeModel, TrainingOutput
from ait.block import AssociativeBlock, PlainBlock
from ait.memory.associative_head import AssociativeHead, make_classifier
from ait.workspace import memory_config

__all__ = ["AssociativeTransformer", "TrainingOutput"]

POOLS: Final = ("", "avg", "max", "avgmax", "token", "map", "flat")


class AssociativeTransformer(AssociativeModel):
    """Vision transformer with an explicit associative memory in every block (arXiv 2309.12862).

    In evaluation the memory is frozen: an image's logits depend on that image alone. In training a forward pass
    writes the memory, as batch normalisation updates its statistics; `forward_training` also returns the
    balance loss.

    Args:
        img_size: Input size in pixels.
        patch_size: Patch size in pixels.
        in_chans: Input channels.
        num_classes: Classes; 0 removes the head.
        global_pool: ``flat`` (the head reads all tokens, as in the paper), ``avg``, ``max``, ``avgmax``,
            ``token``, ``map``, or ``''``.
        head: ``linear``, or ``associative``: `AssociativeHead`, which recalls classes from priors.
        head_args: Arguments of `AssociativeHead` that differ from its defaults.
        embed_dim: Token width E.
        depth: Blocks L.
        num_heads: Heads of self-attention.
        mlp_ratio: Hidden width of the MLP over E.
        memory: Named memory of the blocks, ``orthogonal``, ``published`` or ``none``.
        memory_args: Settings of `MemoryConfig` that differ from the named memory's.
        qkv_bias: Bias in the query, key and value projections.
        dynamic_img_size: Accept any input size, resampling the position embedding.
        dynamic_img_pad: Pad inputs that are no multiple of the patch size.
        drop_rate: Dropout before the head.
        pos_drop_rate: Dropout after the position embedding.
        patch_drop_rate: Share of tokens dropped in training.
        proj_drop_rate: Dropout after projections.
        attn_drop_rate: Dropout of attention weights.
        drop_path_rate: Stochastic depth rate of the last block.
        norm_layer: Normalisation of tokens, a class or timm's name of one; None is LayerNorm.
        act_layer: Activation of the MLPs, a class or timm's name of one; None is GELU.
        block_fn: Class of the blocks that have a memory.
        attention: Self-attention of the blocks, ``softmax`` or ``delta`` (orderless DeltaFormer, arXiv 2505.19488).

    Raises:
        ValueError: If pooling and the other arguments contradict each other.
    """

    dynamic_img_size: Final[bool]

    def __init__(
        self,
        img_size: int | tuple[int, int] = 224,
        patch_size: int | tuple[int, int] = 16,
        in_chans: int = 3,
        num_classes: int = 1000,
        global_pool: str = "avg",
        head: str = "linear",
        head_args: dict[str, Any] | None = None,
        embed_dim: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        mlp_ratio: float = 4.0,
        memory: str = "orthogonal",
        memory_args: dict[str, Any] | None = None,
        qkv_bias: bool = True,
        dynamic_img_size: bool = False,
        dynamic_img_pad: bool = False,
        drop_rate: float = 0.0,
        pos_drop_rate: float = 0.0,
        patch_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_layer: LayerType | None = None,
        act_layer: LayerType | None = None,
        block_fn: type[AssociativeBlock] = AssociativeBlock,
        attention: str = "softmax",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        dd: dict[str, Any] = {"device": device, "dtype": dtype}
        _check_pool(global_pool, dynamic_img_size, patch_drop_rate)
        _check_head(head, global_pool)
        if depth < 1:
            raise ValueError(f"depth is at least 1, got {depth}.")
        if embed_dim % num_heads:
            raise ValueError(f"num_heads must divide embed_dim, got {embed_dim=} and {num_heads=}.")
        config = memory_config(memory, **(memory_args or {}))
        norm: Any = get_norm_layer(norm_layer) or LayerNorm
        make_block: Any = partial(block_fn, memory=config) if config.num_priors else PlainBlock

        self.num_classes = num_classes
        self.in_chans = in_chans
        self.global_pool = global_pool
        self.head_type = head
        self.head_args = dict(head_args or {})
        self.num_features = self.embed_dim = embed_dim
        self.num_heads = num_heads
        self.mlp_ratio = mlp_ratio
        self.num_prefix_tokens = 1 if global_pool == "token" else 0
        self.dynamic_img_size = dynamic_img_size

        layout: dict[str, Any] = {"strict_img_size": False, "output_fmt": "NHWC"} if dynamic_img_size else {}
        self.patch_embed = PatchEmbed(
            img_size=img_size,
            patch_size=patch_size,  # type: ignore[arg-type]  # timm takes pairs too, its annotation does not say so
            in_chans=in_chans,
            embed_dim=embed_dim,
            dynamic_img_pad=dynamic_img_pad,
            **layout,
            **dd,
        )
        length = self.patch_embed.num_patches + self.num_prefix_tokens
        self.cls_token = nn.Parameter(torch.empty(1, 1, embed_dim, **dd)) if self.num_prefix_tokens else None
        self.pos_embed = nn.Parameter(torch.empty(1, length, embed_dim, **dd))
        self.pos_drop = nn.Dropout(pos_drop_rate)
        self.patch_drop = (
            PatchDropout(patch_drop_rate, num_prefix_tokens=self.num_prefix_tokens)
            if patch_drop_rate > 0
            else nn.Identity()
        )
        self.blocks = nn.Sequential(
            *[
                make_block(
                    embed_dim,
                    num_heads,
                    mlp_ratio,
                    qkv_bias=qkv_bias,
                    proj_drop=proj_drop_rate,
                    attn_drop=attn_drop_rate,
                    drop_path=drop_path,
                    norm_layer=norm,
                    act_layer=get_act_layer(act_layer) or nn.GELU,
                    attention=attention,
                    **dd,
                )
                for drop_path in torch.linspace(0, drop_path_rate, depth, device="cpu").tolist()
            ]
        )
        reduction = self.patch_embed.feat_ratio()
        self.feature_info = [
            {"module": f"blocks.{i}", "num_chs": embed_dim, "reduction": reduction} for i in range(depth)
        ]
        self.norm: nn.Module = norm(embed_dim, **dd)
        self.attn_pool = self._attention_pool(global_pool, **dd)
        self.head_drop = nn.Dropout(drop_rate)
        self.head = self._classifier(num_classes, **dd)
        self.init_weights()

    def _attention_pool(self, global_pool: str, **dd: Any) -> nn.Module | None:
        if global_pool != "map":
            return None
        return AttentionPoolLatent(
            self.embed_dim, num_heads=self.num_heads, mlp_ratio=self.mlp_ratio, norm_layer=LayerNorm, **dd
        )

    def _classifier(self, num_classes: int, **dd: Any) -> nn.Module:
        return make_classifier(self.head_type, self.head_hidden_size, num_classes, self.head_args, **dd)

    @property
    def head_hidden_size(self) -> int:
        """Width of what the classifier reads."""
        return self.embed_dim * (self.patch_embed.num_patches if self.global_pool == "flat" else 1)

    @torch.jit.ignore
    def init_weights(self) -> None:
        """Initialise everything but the memories, which initialise themselves."""
        trunc_normal_(self.pos_embed, std=0.02)
        if self.cls_token is not None:
            nn.init.normal_(self.cls_token, std=1e-6)
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and ".workspace." not in name:
                _init_linear(module)
        _init_linear(self.head, std=0.02 * (self.embed_dim / self.head_hidden_size) ** 0.5)

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay leaves alone."""
        # Of an associative head only directions count.
        head = {"head.weight"} if self.head_type == "associative" else set()
        return (
            {"pos_embed", "cls_token"}
            | head
            | {name for name, _ in self.named_parameters() if name.endswith(("log_beta", "attn.erase"))}
        )

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Patterns by which layer-wise learning rates group parameters."""
        return {
            "stem": r"^cls_token|pos_embed|patch_embed",
            "blocks": [(r"^blocks\.(\d+)", None), (r"^norm|^attn_pool", (99999,))],
        }

    @torch.jit.ignore
    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Recompute blocks in the backward pass to save memory; the priors are still written once a step."""
        for block in self.blocks:
            if isinstance(block, PlainBlock):
                block.grad_checkpointing = enable

    @torch.jit.ignore
    def get_classifier(self) -> nn.Module:
        """Return the classifier: linear, associative, or nothing."""
        return self.head

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier, and the pooling if one is given.

        Raises:
            ValueError: If the pooling does not fit the model (a class token cannot be added afterwards).
        """
        dd = {"device": self.pos_embed.device, "dtype": self.pos_embed.dtype}
        _check_head(self.head_type, self.global_pool if global_pool is None else global_pool)
        self.num_classes = num_classes
        if global_pool is not None and global_pool != self.global_pool:
            _check_pool(global_pool, self.dynamic_img_size, getattr(self.patch_drop, "prob", 0.0))
            if global_pool == "token" and not self.num_prefix_tokens:
                raise ValueError("Token pooling needs a class token; create the model with global_pool='token'.")
            self.global_pool = global_pool
            self.attn_pool = self._attention_pool(global_pool, **dd)
        self.head = self._classifier(num_classes, **dd)
        self.head.train(self.training)
        _init_linear(self.head, std=0.02 * (self.embed_dim / self.head_hidden_size) ** 0.5)

    @torch.jit.ignore
    @torch.no_grad()
    def teach(self, label: int, images: Tensor, rate: float | None = None) -> None:
        """Write images of one class into the memory of an associative head, without training.

        Args:
            label: A class that there is, or the number of classes for a new one.
            images: Normalised images, shape (B, C, H, W); on several processes, this one's share.
            rate: Step of the write; None is what `AssociativeHead.teach` says.

        Raises:
            TypeError: The head is not associative.
            ValueError: There is no such class.
        """
        head = self.head
        if not isinstance(head, AssociativeHead):
            raise TypeError("Only a model with head='associative' can be taught a class without training.")
        training = self.training
        self.eval()
        try:
            features = self.forward_head(self.forward_features(images), pre_logits=True)
        finally:
            self.train(training)
        if label == self.num_classes:
            head.add_classes(1)
            self.num_classes = head.num_classes
        head.teach(label, features, rate)

    def set_input_size(
        self, img_size: tuple[int, int] | None = None, patch_size: tuple[int, int] | None = None
    ) -> None:
        """Change input and patch size, resampling position embedding and flattened head to the new grid."""
        old_grid = self.patch_embed.grid_size
        self.patch_embed.set_input_size(img_size=img_size, patch_size=patch_size)
        new_grid = self.patch_embed.grid_size
        if new_grid == old_grid:
            return
        with torch.no_grad():
            self.pos_embed = nn.Parameter(
                resample_abs_pos_embed(
                    self.pos_embed, list(new_grid), list(old_grid), num_prefix_tokens=self.num_prefix_tokens
                )
            )
            if self.global_pool == "flat" and isinstance(self.head, nn.Linear):
                self.head.weight = nn.Parameter(resample_flat_head(self.head.weight, new_grid, old_grid))
                self.head.in_features = self.head_hidden_size

    def embed_patches(self, x: Tensor) -> Tensor:
        """Turn images (B, C, H, W) into tokens with positions, (B, N, E), as the first block takes them."""
        x = self.patch_embed(x)
        pos_embed = self.pos_embed
        if self.dynamic_img_size:
            height, width = x.shape[1], x.shape[2]
            pos_embed = resample_abs_pos_embed(
                pos_embed,
                [height, width],
                self.patch_embed.grid_size,
                num_prefix_tokens=self.num_prefix_tokens,
            )
            x = x.flatten(1, 2)  # (B, N, E)
        if self.cls_token is not None:
            x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1)
        return self.patch_drop(self.pos_drop(x + pos_embed))

    def forward_features(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to normalised tokens (B, N, E)."""
        return self.norm(self.blocks(self.embed_patches(x)))

    def pool(self, x: Tensor) -> Tensor:
        """Pool tokens (B, N, E) to what the classifier reads: (B, E), or (B, N * E) for ``flat``."""
        if self.attn_pool is not None:
            return self.attn_pool(x[:, self.num_prefix_tokens :])
        if self.global_pool == "flat":
            return x[:, self.num_prefix_tokens :].flatten(1)
        return global_pool_nlc(x, pool_type=self.global_pool, num_prefix_tokens=self.num_prefix_tokens)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """Tokens (B, N, E) to logits (B, num_classes), or to pooled features if ``pre_logits``."""
        x = self.head_drop(self.pool(x))
        return x if pre_logits else self.head(x)

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits (B, num_classes)."""
        return self.forward_head(self.forward_features(x))

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | list[int] | None = None,
        return_prefix_tokens: bool = False,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
        output_dict: bool = False,
    ) -> Any:
        """Features together with those of chosen blocks.

        Args:
            x: Images, shape (B, C, H, W).
            indices: The last n blocks if an integer, all if None, else these blocks.
            return_prefix_tokens: Return prefix tokens beside the spatial ones.
            norm: Apply the final norm to intermediates.
            stop_early: Stop after the last wanted block.
            output_fmt: ``NCHW`` (B, E, H', W') or ``NLC`` (B, N, E).
            intermediates_only: Return the intermediates alone.
            output_dict: Return a dictionary with ``image_features`` and ``image_intermediates``.

        Returns:
            Final tokens and list of intermediates, or as the arguments say.

        Raises:
            ValueError: If the output format is unknown.
        """
        if output_fmt not in ("NCHW", "NLC"):
            raise ValueError(f"Unknown output_fmt {output_fmt!r}; choose NCHW or NLC.")
        take_indices, max_index = feature_take_indices(len(self.blocks), indices)
        height, width = x.shape[-2:]
        x = self.embed_patches(x)
        intermediates = []
        blocks = self.blocks[: max_index + 1] if stop_early else self.blocks
        for i, block in enumerate(blocks):
            x = block(x)
            if i in take_indices:
                intermediates.append(self.norm(x) if norm else x)
        prefix = [tokens[:, : self.num_prefix_tokens] for tokens in intermediates]
        spatial = [tokens[:, self.num_prefix_tokens :] for tokens in intermediates]
        if output_fmt == "NCHW":
            grid = self.patch_embed.dynamic_feat_size((height, width))
            spatial = [tokens.unflatten(1, grid).permute(0, 3, 1, 2).contiguous() for tokens in spatial]
        if output_dict:
            outputs: dict[str, Any] = {"image_intermediates": spatial}
            if return_prefix_tokens and self.num_prefix_tokens:
                outputs["image_intermediates_prefix"] = prefix
            if not intermediates_only:
                outputs["image_features"] = self.norm(x)
            return outputs
        result: list[Any] = spatial
        if return_prefix_tokens and self.num_prefix_tokens:
            result = list(zip(spatial, prefix, strict=True))
        return result if intermediates_only else (self.norm(x), result)

    @torch.jit.ignore
    def prune_intermediate_layers(
        self, indices: int | list[int] = 1, prune_norm: bool = False, prune_head: bool = True
    ) -> list[int]:
        """Drop the layers that the chosen intermediates do not need; returns the indices kept."""
        take_indices, max_index = feature_take_indices(len(self.blocks), indices)
        self.blocks = self.blocks[: max_index + 1]
        if prune_norm:
            self.norm = nn.Identity()
        if prune_head:
            self.reset_classifier(0, "")
        return take_indices


def _check_pool(global_pool: str, dynamic_img_size: bool, patch_drop_rate: float) -> None:
    if global_pool not in POOLS:
        raise ValueError(f"Unknown global_pool {global_pool!r}; choose one of {', '.join(map(repr, POOLS))}.")
    if global_pool == "flat" and (dynamic_img_size or patch_drop_rate > 0):
        raise ValueError(
            "global_pool='flat' reads a fixed number of tokens; use 'avg' with dynamic_img_size or patch_drop_rate."
        )


def _check_head(head: str, global_pool: str) -> None:
    if head == "associative" and global_pool == "flat":
        raise ValueError(
            "head='associative' remembers one vector an image, and global_pool='flat' gives all tokens; use 'avg'."
        )


def _init_linear(module: nn.Module, std: float = 0.02) -> None:
    if isinstance(module, nn.Linear):
        trunc_normal_(module.weight, std=std)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def resample_flat_head(weight: Tensor, new_grid: Iterable[int], old_grid: Iterable[int]) -> Tensor:
    """Resample a flattened head's weight (C, N * E) to another token grid, keeping the scale of the logits."""
    new_height, new_width = new_grid
    old_height, old_width = old_grid
    grid = weight.unflatten(1, (old_height, old_width, -1)).permute(0, 3, 1, 2)  # (C, E, H', W')
    grid = F.interpolate(grid.float(), size=(new_height, new_width), mode="bicubic", antialias=True)
    grid = grid * (old_height * old_width) / (new_height * new_width)
    return grid.permute(0, 2, 3, 1).flatten(1).to(weight.dtype)
