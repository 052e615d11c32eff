"""A ViT that ends on a few latent tokens: one block works on them in passes, and every pass reads all patches anew."""

from collections.abc import Callable
from typing import Any, Final

import torch
from timm.layers import get_act_layer, get_norm_layer
from timm.models import VisionTransformer, checkpoint, checkpoint_seq
from timm.models.vision_transformer import Block, get_init_weights_vit
from torch import Tensor, nn

from ait.latent.recall_merge import RecallMerge
from ait.memory.associative_head import make_classifier

# Arguments of timm's ViT that it hands to its blocks as they are, and those that it looks up by name first.
_OF_BLOCKS: Final = (
    "mlp_ratio",
    "qkv_bias",
    "qk_norm",
    "scale_attn_norm",
    "scale_mlp_norm",
    "proj_bias",
    "init_values",
    "mlp_layer",
    "attn_layer",
)
_LAYERS: Final[dict[str, Callable[..., Any]]] = {"norm_layer": get_norm_layer, "act_layer": get_act_layer}


class Workspace(nn.Module):
    """Latent tokens, on which one block works in every pass.

    With tokens ``x`` and the merge of pass r (`RecallMerge`, of priors of its own),

        latent_1 = block(merge_1(x)),   latent_r = block(latent_(r-1) + merge_r(x))

    the recurrence of arXiv 2103.03206, which reads the input at every pass, with weights shared over passes: what
    differs between them is the memory alone.

    Args:
        block: Turns tokens (B, M, E) into tokens (B, M, E).
        merges: A merge a pass.
    """

    def __init__(self, block: nn.Module, merges: list[RecallMerge]) -> None:
        super().__init__()
        self.block = block
        self.merges = nn.ModuleList(merges)

    def forward(self, x: Tensor) -> Tensor:
        """Tokens (B, N, E) to latent tokens (B, M, E)."""
        latent = torch.zeros_like(x[:, :1])
        for merge in self.merges:
            latent = self.block(latent + merge(x))
        return latent


class WorkspaceTransformer(VisionTransformer):
    """timm's ViT with a `Workspace` after its blocks, of whose latent tokens the head reads the mean.

    With one pass and tokens that compete it is a ViT whose patches are merged by recall before its last block.

    Args:
        passes: Passes through the workspace.
        num_latents: Latent tokens M, which is the number of priors of a pass.
        compete: Let patches be divided among the priors of a pass, see `RecallMerge`.
        head: ``linear``, or ``associative``: `AssociativeHead`, which recalls classes from priors.
        head_args: Arguments of `AssociativeHead` that differ from its defaults.
        **vit: Arguments of timm's ``VisionTransformer``; ``depth`` counts the blocks before the workspace. There is no
            class token, and pooling is ``avg`` unless another is given.

    Raises:
        ValueError: A number is below 1, or the head is unknown.
    """

    def __init__(
        self,
        *,
        passes: int = 4,
        num_latents: int = 16,
        compete: bool = False,
        head: str = "linear",
        head_args: dict[str, Any] | None = None,
        **vit: Any,
    ) -> None:
        if min(passes, num_latents) < 1:
            raise ValueError(f"passes and num_latents are at least 1, got {passes=} and {num_latents=}.")
        # Latent tokens are no tokens of the image: none of them is a prefix to be left out.
        super().__init__(
            **{"global_pool": "avg", "fc_norm": False, **vit, "class_token": False, "pool_include_prefix": True}
        )
        dd: dict[str, Any] = {"device": vit.get("device"), "dtype": vit.get("dtype")}
        block: Any = vit.get("block_fn") or Block
        settings = {key: vit[key] for key in _OF_BLOCKS if vit.get(key) is not None}
        for key, resolve in _LAYERS.items():
            if vit.get(key) is not None:
                settings[key] = resolve(vit[key])
        rates = {"proj_drop": vit.get("proj_drop_rate", 0.0), "attn_drop": vit.get("attn_drop_rate", 0.0)}
        heads = vit.get("num_heads", 12)
        inner = block(self.embed_dim, heads, **{"qkv_bias": True, **settings, **rates}, **dd)
        inner.apply(get_init_weights_vit(needs_reset=False))
        self.workspace = Workspace(
            inner, [RecallMerge(self.embed_dim, num_latents, compete, **dd) for _ in range(passes)]
        )
        self.head_type = head
        self.head_args = dict(head_args or {})
        self._make_head()

    @torch.jit.ignore
    def no_weight_decay(self) -> set[str]:
        """Names of parameters that weight decay leaves alone."""
        # Of an associative head only directions count.
        head = {"head.weight", "head.log_beta"} if self.head_type == "associative" else set()
        return (super().no_weight_decay() | head) & {name for name, _ in self.named_parameters()}

    @torch.jit.ignore
    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        """Group parameters by layer; the workspace is one, after the blocks."""
        groups: dict[str, Any] = super().group_matcher(coarse)
        groups["blocks"] = [(r"^blocks\.(\d+)", None), (r"^workspace", (99998,)), (r"^norm", (99999,))]
        return groups

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the classifier, by one of the same kind, and the pooling if one is given."""
        super().reset_classifier(num_classes, global_pool)
        self._make_head()

    def _make_head(self) -> None:
        if self.head_type == "linear":
            return  # timm has made it
        device = next(self.parameters()).device
        head: Any = make_classifier(
            self.head_type, self.head_hidden_size, self.num_classes, self.head_args, device=device
        )
        self.head = head

    def forward_features(self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        """Images (B, C, H, W) to latent tokens (B, M, E); masks are for attention between patches."""
        x = self.norm_pre(self.patch_drop(self._pos_embed(self.patch_embed(x))))
        if attn_mask is not None or is_causal:
            for block in self.blocks:
                x = block(x, attn_mask=attn_mask, is_causal=is_causal)
        elif self.grad_checkpointing and not torch.jit.is_scripting():
            return self.norm(checkpoint(self.workspace, checkpoint_seq(self.blocks, x)))  # every pass reads all tokens
        else:
            x = self.blocks(x)
        return self.norm(self.workspace(x))

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
        attn_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]] | dict[str, Any]:
        """Return tokens of patches after some blocks, as timm's ViT gives them, and the latent tokens beside them.

        Where both are asked for, the blocks run twice.
        """
        masks: dict[str, Any] = {"attn_mask": attn_mask, "is_causal": is_causal}
        found: Any = super().forward_intermediates(
            x, indices, return_prefix_tokens, norm, stop_early, output_fmt, True, output_dict, **masks
        )
        if intermediates_only:
            return found
        latent = self.forward_features(x, **masks)
        return found | {"image_features": latent} if output_dict else (latent, found)
