"""Averaged weights, timm's, for models whose weights are whole or spread over processes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor, nn

from training.sharding import local, spread_like


class WeightAverage:
    """Keep an exponential average of a model's weights, whose decay grows from 0 to `decay` over the first updates.

    Buffers are the model's own, not averaged: a mean of an associative memory's unit-norm priors over many updates
    is neither of unit norm nor a memory the model ever held.

    Args:
        model: Whose weights are averaged.
        decay: Share of the average that an update keeps, below 1.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._average = ModelEmaV3(_parts(model), decay=decay, use_warmup=True)

    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the model's weights, after update `step`, counted from 1."""
        self._average.update(_parts(model), step=step)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights for the duration of the context."""
        self._exchange(model)
        try:
            yield
        finally:
            self._exchange(model)

    @torch.no_grad()
    def load(self, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
        """Replace the average by weights under the model's names, as a state dictionary within `applied` gave them.

        Raises:
            KeyError: One is missing.
            RuntimeError: One has another shape.
        """
        for (name, parameter), mean in zip(model.named_parameters(), self._average.module.parameters(), strict=True):
            mean.copy_(local(spread_like(weights[name], parameter)))

    @torch.no_grad()
    def _exchange(self, model: nn.Module) -> None:
        for parameter, mean in zip(model.parameters(), self._average.module.parameters(), strict=True):
            part = local(parameter.detach())
            before = part.clone()
            part.copy_(mean)
            mean.copy_(before)


def _parts(model: nn.Module) -> nn.ParameterList:
    """Collect this process's parts of a model's parameters, in the same memory."""
    return nn.ParameterList(nn.Parameter(local(parameter.detach())) for parameter in model.parameters())
