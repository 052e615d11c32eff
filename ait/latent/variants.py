"""The models with a workspace that timm knows by name."""

from typing import Any, Final

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from ait.latent.transformer import WorkspaceTransformer
from ait.latent.weights import checkpoint_filter_fn
from ait.preprocessing import cifar_cfg, imagenet_cfg

default_cfgs = generate_default_cfgs(
    {
        "ait_workspace_tiny_patch4_32": cifar_cfg(),
        "ait_workspace_small_patch4_32": cifar_cfg(),
        "ait_workspace_tiny_patch16_224": imagenet_cfg(),
        "ait_workspace_small_patch16_224": imagenet_cfg(),
        "ait_workspace_base_patch16_224": imagenet_cfg(),
        "ait_merge_tiny_patch4_32": cifar_cfg(),
    }
)

_TINY: Final = {"embed_dim": 192, "num_heads": 3}
_SMALL: Final = {"embed_dim": 384, "num_heads": 6}
_BASE: Final = {"embed_dim": 768, "num_heads": 12}
_PATCH4: Final = {"img_size": 32, "patch_size": 4, "num_latents": 16}
_PATCH16: Final = {"img_size": 224, "patch_size": 16, "depth": 8, "num_latents": 49}


def _create(variant: str, pretrained: bool = False, **kwargs: Any) -> WorkspaceTransformer:
    model: WorkspaceTransformer = build_model_with_cfg(
        WorkspaceTransformer,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": kwargs.pop("out_indices", min(3, kwargs["depth"])), "feature_cls": "getter"},
        **kwargs,
    )
    return model


@register_model
def ait_workspace_tiny_patch4_32(pretrained: bool = False, **kwargs: Any) -> WorkspaceTransformer:
    """Workspace of 4 passes (16 latents of 192) after 3 blocks, for 32-pixel images."""
    return _create("ait_workspace_tiny_patch4_32", pretrained, **{**_TINY, **_PATCH4, "depth": 3, **kwargs})


@register_model
def ait_workspace_small_patch4_32(pretrained: bool = False, **kwargs: Any) -> WorkspaceTransformer:
    """Workspace of 4 passes (16 latents of 384) after 5 blocks, for 32-pixel images."""
    return _create("ait_workspace_small_patch4_32", pretrained, **{**_SMALL, **_PATCH4, "depth": 5, **kwargs})


@register_model
def ait_workspace_tiny_patch16_224(pretrained: bool = False, **kwargs: Any) -> WorkspaceTransformer:
    """Workspace of 4 passes (49 latents of 192) after 8 blocks, for 224-pixel images."""
    return _create("ait_workspace_tiny_patch16_224", pretrained, **{**_TINY, **_PATCH16, **kwargs})


@register_model
def ait_workspace_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> WorkspaceTransformer:
    """Workspace of 4 passes (49 latents of 384) after 8 blocks, for 224-pixel images."""
    return _create("ait_workspace_small_patch16_224", pretrained, **{**_SMALL, **_PATCH16, **kwargs})


@register_model
def ait_workspace_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> WorkspaceTransformer:
    """Workspace of 4 passes (49 latents of 768) after 8 blocks, for 224-pixel images."""
    return _create("ait_workspace_base_patch16_224", pretrained, **{**_BASE, **_PATCH16, **kwargs})


@register_model
def ait_merge_tiny_patch4_32(pretrained: bool = False, **kwargs: Any) -> WorkspaceTransformer:
    """Three blocks, patches merged to 16 by the priors that they recall, and one more block, for 32-pixel images."""
    merged = {"depth": 3, "passes": 1, "compete": True}
    return _create("ait_merge_tiny_patch4_32", pretrained, **{**_TINY, **_PATCH4, **merged, **kwargs})
