"""The baselines that timm knows by name, and their settings."""

from typing import Any, Final

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model

from ait.baselines.ablations import AblatedAiT
from ait.baselines.brims import BRIMs
from ait.baselines.classifier import SetClassifier
from ait.baselines.coordination import Coordination
from ait.baselines.luna import Luna
from ait.baselines.perceiver import Perceiver
from ait.baselines.set_transformer import SetTransformer
from ait.preprocessing import cifar_cfg

_TITLES: Final = {
    "ait": ("Associative Transformer", "2309.12862"),
    "brims": ("Learning to Combine Top-Down and Bottom-Up Signals in Recurrent Neural Networks", "2006.16981"),
    "coordination": ("Coordination Among Neural Modules Through a Shared Global Workspace", "2103.01197"),
    "luna": ("Luna: Linear Unified Nested Attention", "2106.01540"),
    "perceiver": ("Perceiver: General Perception with Iterative Attention", "2103.03206"),
    "set_transformer": ("Set Transformer", "1810.00825"),
}


def _cfg(paper: str, first_conv: str | None = "patch_embed.proj.proj") -> dict[str, Any]:
    title, number = _TITLES[paper]
    return cifar_cfg(first_conv=first_conv, paper_name=title, paper_ids=f"arXiv:{number}")


default_cfgs = generate_default_cfgs(
    {
        "set_transformer_patch4_32": _cfg("set_transformer"),
        "perceiver_patch4_32": _cfg("perceiver", None),
        "perceiver_pixel_32": _cfg("perceiver", None),
        "luna_patch4_32": _cfg("luna"),
        "brims_patch4_32": _cfg("brims"),
        "coordination_patch4_32": _cfg("coordination"),
        "coordination_soft_patch4_32": _cfg("coordination"),
        "coordination_d_patch4_32": _cfg("coordination"),
        "coordination_h_patch4_32": _cfg("coordination"),
        "coordination_dh_patch4_32": _cfg("coordination"),
        "coordination_tr_patch4_32": _cfg("coordination"),
        "coordination_str_patch4_32": _cfg("coordination"),
        "coordination_tr_hc_patch4_32": _cfg("coordination"),
        "coordination_isab_patch4_32": _cfg("coordination"),
        "ablated_ait_tiny_patch4_32": _cfg("ait"),
        "ablated_ait_small_patch4_32": _cfg("ait"),
    }
)

_PATCH4: Final = {"img_size": 32, "patch_size": 4}
# The table that has the variants D and H does not say what they are; read as depth and hidden width, both doubled.
_DEEP: Final = {"depth": 8}
_WIDE: Final = {"embed_dim": 512}


def _create(cls: type[SetClassifier], variant: str, pretrained: bool, **kwargs: Any) -> Any:
    if kwargs.get("features_only") and cls in (Perceiver, BRIMs):
        # As timm's models say it; what these hold of an image has no place in it.
        raise RuntimeError(f"features_only is not implemented for {cls.__name__}; use forward_features.")
    # Hooks give the features of a layer's last module, tokens (B, N, E).
    feature_cfg = {"feature_cls": "hook", "out_indices": (0,)}
    return build_model_with_cfg(cls, variant, pretrained, feature_cfg=feature_cfg, **{**_PATCH4, **kwargs})


@register_model
def set_transformer_patch4_32(pretrained: bool = False, **kwargs: Any) -> SetTransformer:
    """Set Transformer (width 256, 2 ISABs, PMA, SAB) for 32-pixel images."""
    return _create(SetTransformer, "set_transformer_patch4_32", pretrained, **kwargs)


@register_model
def perceiver_patch4_32(pretrained: bool = False, **kwargs: Any) -> Perceiver:
    """Perceiver (256 latents of 512, 6 readings) of the patches of 32-pixel images."""
    return _create(Perceiver, "perceiver_patch4_32", pretrained, **kwargs)


@register_model
def perceiver_pixel_32(pretrained: bool = False, **kwargs: Any) -> Perceiver:
    """Perceiver (256 latents of 512, 6 readings) of the pixels of 32-pixel images."""
    return _create(Perceiver, "perceiver_pixel_32", pretrained, **{"patch_size": 1, **kwargs})


@register_model
def luna_patch4_32(pretrained: bool = False, **kwargs: Any) -> Luna:
    """Luna (width 256, 4 layers, extra sequence of 16) for 32-pixel images."""
    return _create(Luna, "luna_patch4_32", pretrained, **kwargs)


@register_model
def brims_patch4_32(pretrained: bool = False, **kwargs: Any) -> BRIMs:
    """BRIMs (2 layers of 6 modules, 4 active) that read 32-pixel images patch by patch."""
    return _create(BRIMs, "brims_patch4_32", pretrained, **kwargs)


@register_model
def coordination_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination, TR+HSW (8 slots of 256, top-20 writes, 4 shared layers), for 32-pixel images."""
    return _create(Coordination, "coordination_patch4_32", pretrained, **kwargs)


@register_model
def coordination_soft_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination with soft competition, TR+SSW: all tokens write."""
    return _create(Coordination, "coordination_soft_patch4_32", pretrained, **{"top_k": None, **kwargs})


@register_model
def coordination_d_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination of twice the depth."""
    return _create(Coordination, "coordination_d_patch4_32", pretrained, **{**_DEEP, **kwargs})


@register_model
def coordination_h_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination of twice the hidden width."""
    return _create(Coordination, "coordination_h_patch4_32", pretrained, **{**_WIDE, **kwargs})


@register_model
def coordination_dh_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination of twice the depth and twice the hidden width."""
    return _create(Coordination, "coordination_dh_patch4_32", pretrained, **{**_DEEP, **_WIDE, **kwargs})


@register_model
def coordination_tr_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination's companion TR: pairwise attention, shared layers."""
    args = {"communication": "self", "top_k": None}
    return _create(Coordination, "coordination_tr_patch4_32", pretrained, **{**args, **kwargs})


@register_model
def coordination_str_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination's companion STR: pairwise attention to the 20 largest scores, shared layers."""
    return _create(Coordination, "coordination_str_patch4_32", pretrained, **{"communication": "self", **kwargs})


@register_model
def coordination_tr_hc_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination's companion TR+HC: pairwise attention, layers of their own weights."""
    args = {"communication": "self", "top_k": None, "share": False}
    return _create(Coordination, "coordination_tr_hc_patch4_32", pretrained, **{**args, **kwargs})


@register_model
def coordination_isab_patch4_32(pretrained: bool = False, **kwargs: Any) -> Coordination:
    """Coordination's companion ISAB: induced set attention, shared layers."""
    return _create(Coordination, "coordination_isab_patch4_32", pretrained, **{"communication": "induced", **kwargs})


@register_model
def ablated_ait_tiny_patch4_32(pretrained: bool = False, **kwargs: Any) -> AblatedAiT:
    """AiT-Tiny (width 192, 4 blocks) without a part, ``ablation``."""
    args = {"embed_dim": 192, "depth": 4, "num_heads": 3}
    return _create(AblatedAiT, "ablated_ait_tiny_patch4_32", pretrained, **{**args, **kwargs})


@register_model
def ablated_ait_small_patch4_32(pretrained: bool = False, **kwargs: Any) -> AblatedAiT:
    """AiT-Small (width 768, 2 blocks) without a part, ``ablation``."""
    return _create(AblatedAiT, "ablated_ait_small_patch4_32", pretrained, **kwargs)
