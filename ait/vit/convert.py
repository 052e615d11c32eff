"""Give a trained ViT memories that training can wake."""

from pathlib import Path
from typing import Any

import timm
from timm.models import VisionTransformer, get_model_args
from timm.models._hub import load_model_config_from_path

from ait.vit.variants import PREFIX, vit_names
from ait.vit.vision_transformer import AssociativeVisionTransformer


def from_vit(source: str | Path | VisionTransformer, **changes: Any) -> AssociativeVisionTransformer:
    """Create an AiT model with the shape and the weights of a ViT; it answers as the ViT does.

    Weights of a tag or of a single file need no such call: ``timm.create_model("ait_vit_tiny_patch16_224.TAG",
    pretrained=True)``, or with ``pretrained_cfg_overlay={"file": PATH}``.

    Args:
        source: A checkpoint folder, or a model that timm's factory made.
        **changes: Arguments of the model that differ from the ViT's, such as ``memory_blocks`` and ``img_size``.

    Raises:
        FileNotFoundError: The folder has no configuration.
        ValueError: The source is no ViT that has an AiT model of its shape.
    """
    if isinstance(source, VisionTransformer):
        pretrained_cfg: Any = source.pretrained_cfg
        config, args = dict(pretrained_cfg), get_model_args(source)
        architecture = str(config.get("architecture"))
        args["num_classes"] = source.num_classes
        config |= {"state_dict": source.state_dict(), "source": "", "num_classes": source.num_classes}
    else:
        config, architecture, args = load_model_config_from_path(source)
    if architecture not in vit_names():
        raise ValueError(f"{architecture} has no AiT model of its shape; those of timm's ViTs begin with ait_vit_.")
    name = PREFIX + architecture
    model: Any = timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg=config | {"architecture": name},
        pretrained_model_args=args,
        **(args | changes),
    )
    # Of a source in memory, the weights are in the model now.
    model.pretrained_cfg.pop("state_dict", None)
    converted: AssociativeVisionTransformer = model
    return converted
