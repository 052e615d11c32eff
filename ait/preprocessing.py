"""How a model wants its images, of timm's configuration."""

from collections.abc import Callable
from typing import Any

from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.data.config import resolve_model_data_config
from torch import nn

_CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
_CIFAR_STD = (0.2470, 0.2435, 0.2616)


def imagenet_cfg(**changes: Any) -> dict[str, Any]:
    """Describe a model of 224-pixel images and ImageNet's classes, as timm's registry takes it.

    Args:
        **changes: Entries that differ.
    """
    return {
        "input_size": (3, 224, 224),
        "fixed_input_size": True,
        "num_classes": 1000,
        "pool_size": None,
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        "first_conv": "patch_embed.proj",
        "classifier": "head",
        **changes,
    }


def cifar_cfg(**changes: Any) -> dict[str, Any]:
    """Describe a model of 32-pixel images and CIFAR-10's classes, as timm's registry takes it.

    Args:
        **changes: Entries that differ.
    """
    cifar = {
        "input_size": (3, 32, 32),
        "num_classes": 10,
        "crop_pct": 1.0,
        "mean": _CIFAR_MEAN,
        "std": _CIFAR_STD,
    }
    return imagenet_cfg(**cifar | changes)


def data_config_of(model: nn.Module) -> dict[str, Any]:
    """Read what `timm.data.resolve_model_data_config` says, with mean and standard deviation one a channel.

    Args:
        model: A timm model of grey or RGB images.

    Raises:
        ValueError: It takes another number of channels.
    """
    resolve: Callable[..., dict[str, Any]] = resolve_model_data_config  # timm has no types
    config = resolve(model)
    channels = config["input_size"][0]
    if channels not in (1, 3):
        raise ValueError(f"it takes {channels} channels, and only grey and RGB can be served")
    for key in ("mean", "std"):  # RGB statistics on a grey model would broadcast to three channels
        values = config[key]
        if len(values) != channels:
            config[key] = (sum(values) / len(values),) * channels
    return config
