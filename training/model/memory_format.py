"""How a convolutional network's weights lie in memory."""

import torch
from torch import nn


def store_channels_last(model: nn.Module) -> None:
    """Store the weights of a convolutional network with the channels of each pixel side by side, in place.

    Processors then compute convolutions several times as fast, those of single channels above all; answers change by
    rounding. A model with more linear layers than convolutions is left as it is.

    Args:
        model: On a processor, not spread over processes.
    """
    convolutions = sum(isinstance(module, nn.Conv2d) for module in model.modules())
    if convolutions > sum(isinstance(module, nn.Linear) for module in model.modules()):
        model.to(memory_format=torch.channels_last)
