"""The models that timm knows by name, their settings and their weights."""

from functools import partial
from pathlib import Path
from typing import Any, Final

from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from ait.associative_transformer import AssociativeTransformer
from ait.preprocessing import cifar_cfg, imagenet_cfg
from ait.weights import checkpoint_filter_fn

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PAPER: Final = {"paper_name": "Associative Transformer", "paper_ids": "arXiv:2309.12862"}


def _create(variant: str, pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    out_indices = kwargs.pop("out_indices", min(3, kwargs["depth"]))
    # A tag's weights belong to its read-out, whichever the architecture has by default.
    implied = _read_out(variant, pretrained, kwargs)
    kwargs.update(implied)
    model: Any = build_model_with_cfg(
        AssociativeTransformer,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": out_indices, "feature_cls": "getter"},
        **kwargs,
    )
    _forget_names_of_other_classes(model, pretrained)
    # timm adds what create_model was given, and writes all of it into checkpoints.
    model.__dict__["_model_args"] = implied
    return model


def _read_out(variant: str, pretrained: bool, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of pooling and head that follow from the weights that are asked for, and were not given."""
    cfg = kwargs.get("pretrained_cfg")
    default = pretrained and cfg is None and kwargs.get("pretrained_cfg_overlay") is None
    of_tag = _READ_OUTS.get(f"{variant}.{cfg}" if isinstance(cfg, str) else variant if default else "", {})
    if kwargs.get("num_classes") == 0 or kwargs.get("dynamic_img_size") or kwargs.get("patch_drop_rate"):
        of_tag = {key: value for key, value in of_tag.items() if value != "flat"}
    return {key: value for key, value in {"global_pool": "avg", **of_tag}.items() if kwargs.get(key) is None}


def _forget_names_of_other_classes(model: nn.Module, pretrained: bool) -> None:
    """Keep class names only with the weights that learned them: they are the tag's, not the architecture's."""
    config = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("label_names") or ()
    own_folder = config.get("source") == "local-dir"
    if names and (len(names) != getattr(model, "num_classes", 0) or not (pretrained or own_folder)):
        config.pop("label_names")


_cfg = partial(imagenet_cfg, **_PAPER)
_cfg_32 = partial(cifar_cfg, **_PAPER)

default_cfgs = generate_default_cfgs(
    {
        "ait_tiny_patch4_32.cifar10": _cfg_32(
            file=str(Path(__file__).parent / "pretrained" / "ait_tiny_patch4_32.cifar10" / "model.safetensors"),
            label_names=CIFAR10_CLASSES,
        ),
        "ait_small_patch4_32": _cfg_32(),
        "ait_medium_patch4_32": _cfg_32(),
        "ait_base_patch4_32": _cfg_32(),
        "ait_tiny_patch16_224": _cfg(),
        "ait_small_patch16_224": _cfg(),
        "ait_medium_patch16_224": _cfg(),
        "ait_base_patch16_224": _cfg(),
    }
)

# Pooling and head of weights that were trained with others than the defaults, by tag and by default tag.
_READ_OUTS: Final[dict[str, dict[str, Any]]] = {
    name: {"global_pool": "avg", "head": "associative"}
    for name in ("ait_tiny_patch4_32", "ait_tiny_patch4_32.cifar10")
}

_TINY: Final = {"embed_dim": 192, "depth": 4, "num_heads": 3}
_SMALL: Final = {"embed_dim": 768, "depth": 2, "num_heads": 12}
_MEDIUM: Final = {"embed_dim": 768, "depth": 6, "num_heads": 12}
_BASE: Final = {"embed_dim": 768, "depth": 12, "num_heads": 12}
_PATCH4: Final = {"img_size": 32, "patch_size": 4}
_PATCH16: Final = {"img_size": 224, "patch_size": 16}


@register_model
def ait_tiny_patch4_32(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Tiny (width 192, 4 blocks) for 32-pixel images."""
    return _create("ait_tiny_patch4_32", pretrained, **{**_TINY, **_PATCH4, **kwargs})


@register_model
def ait_small_patch4_32(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Small (width 768, 2 blocks) for 32-pixel images."""
    return _create("ait_small_patch4_32", pretrained, **{**_SMALL, **_PATCH4, **kwargs})


@register_model
def ait_medium_patch4_32(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Medium (width 768, 6 blocks) for 32-pixel images."""
    return _create("ait_medium_patch4_32", pretrained, **{**_MEDIUM, **_PATCH4, **kwargs})


@register_model
def ait_base_patch4_32(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Base (width 768, 12 blocks) for 32-pixel images."""
    return _create("ait_base_patch4_32", pretrained, **{**_BASE, **_PATCH4, **kwargs})


@register_model
def ait_tiny_patch16_224(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Tiny (width 192, 4 blocks) for 224-pixel images."""
    return _create("ait_tiny_patch16_224", pretrained, **{**_TINY, **_PATCH16, **kwargs})


@register_model
def ait_small_patch16_224(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Small (width 768, 2 blocks) for 224-pixel images."""
    return _create("ait_small_patch16_224", pretrained, **{**_SMALL, **_PATCH16, **kwargs})


@register_model
def ait_medium_patch16_224(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Medium (width 768, 6 blocks) for 224-pixel images."""
    return _create("ait_medium_patch16_224", pretrained, **{**_MEDIUM, **_PATCH16, **kwargs})


@register_model
def ait_base_patch16_224(pretrained: bool = False, **kwargs: Any) -> AssociativeTransformer:
    """AiT-Base (width 768, 12 blocks) for 224-pixel images."""
    return _create("ait_base_patch16_224", pretrained, **{**_BASE, **_PATCH16, **kwargs})
