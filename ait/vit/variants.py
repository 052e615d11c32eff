"""Every ViT of timm's with a memory in its blocks, under its name with ``ait_`` before it.

By one rule: the shape is what timm's own function of that name gives its model, the tags and their weights are timm's.
"""

import sys
from copy import deepcopy
from dataclasses import replace
from functools import partial
from types import FunctionType
from typing import Any, Final

import timm
from timm.models import DefaultCfg, build_model_with_cfg, model_entrypoint, register_model
from timm.models.vision_transformer import default_cfgs as vit_cfgs

from ait.vit.vision_transformer import AssociativeVisionTransformer
from ait.vit.weights import checkpoint_filter_fn

PREFIX: Final = "ait_"

default_cfgs: dict[str, DefaultCfg] = {}


def vit_names() -> list[str]:
    """List timm's ViTs that have an AiT model of their shape."""
    return sorted(name.removeprefix(PREFIX) for name in default_cfgs)


def _settings(entrypoint: Any) -> dict[str, Any]:
    """Read what one of timm's functions gives its model besides its caller's arguments.

    timm keeps it in the body of the function alone. So that runs here, and what it would build the model with is
    replaced by what returns the arguments.
    """
    names = {**entrypoint.__globals__, "_create_vision_transformer": lambda *_, pretrained, **settings: settings}
    settings: dict[str, Any] = FunctionType(entrypoint.__code__, names, argdefs=entrypoint.__defaults__)()
    return settings


def _create(
    variant: str, settings: dict[str, Any], pretrained: bool = False, **kwargs: Any
) -> AssociativeVisionTransformer:
    kwargs = settings | kwargs
    model: AssociativeVisionTransformer = build_model_with_cfg(
        AssociativeVisionTransformer,
        variant,
        pretrained,
        pretrained_filter_fn=checkpoint_filter_fn,
        feature_cfg={"out_indices": kwargs.pop("out_indices", 3), "feature_cls": "getter"},
        **kwargs,
    )
    return model


def _with_timms_weights(name: str) -> DefaultCfg:
    """Copy a ViT's tags; an address that timm derives from a model's name stays that of the ViT."""
    configs: Any = deepcopy(vit_cfgs[name])  # of which timm's annotation says otherwise
    for tag in configs.tags:
        full = timm.get_pretrained_cfg(f"{name}.{tag}" if tag else name)
        configs.cfgs[tag] = replace(configs.cfgs[tag], hf_hub_id=full.hf_hub_id if full else None)
    copied: DefaultCfg = configs
    return copied


def _register(name: str) -> None:
    settings = _settings(model_entrypoint(name))
    if "block_fn" in settings or "radio" in name:
        # Other blocks have another MLP or none; of radio's weights timm resamples positions in a way of its own.
        return
    default_cfgs[PREFIX + name] = _with_timms_weights(name)
    entrypoint: Any = partial(_create, PREFIX + name, settings)
    entrypoint.__name__, entrypoint.__module__ = PREFIX + name, __name__
    entrypoint.__doc__ = f"timm's {name} with a memory in its blocks."
    setattr(sys.modules[__name__], entrypoint.__name__, register_model(entrypoint))


__all__ = ["default_cfgs", "vit_names"]

for _name in timm.list_models("vit_*", module="vision_transformer"):
    _register(_name)
