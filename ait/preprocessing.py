"""How a model wants its images, of timm's configuration."""

from collections.abc import Callable
from typing import Any

from timm.data.config import resolve_model_data_config
from torch import nn


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
