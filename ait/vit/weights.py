"""Fit weights to an AiT model of a ViT's shape: those of such a model, or of the ViT, whose memory is then new."""

import re
from typing import Final

from timm.models.vision_transformer import checkpoint_filter_fn as fit_vit
from torch import Tensor

from ait.vit.vision_transformer import AssociativeVisionTransformer

_OF_MEMORY: Final = re.compile(r"(blocks\.\d+)\.(?:workspace|memory_norm)\.")


def checkpoint_filter_fn(state_dict: dict[str, Tensor], model: AssociativeVisionTransformer) -> dict[str, Tensor]:
    """Fit a checkpoint, of any layout that timm reads, to a model of another input or patch size or with memories.

    Blocks of which the checkpoint knows no memory keep the one that they were made with.
    """
    fitted: dict[str, Tensor] = fit_vit(state_dict, model)
    if model.attn_pool is None:  # timm's weights have one, whichever pooling a variant has
        fitted = {name: value for name, value in fitted.items() if not name.startswith("attn_pool.")}
    known = {found[1] for name in fitted if (found := _OF_MEMORY.match(name))}
    for name, value in model.state_dict().items():
        found = _OF_MEMORY.match(name)
        if found and found[1] not in known:
            fitted[name] = value
    return fitted
