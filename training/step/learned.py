"""Everything that training changes in a model, and a copy of it at one moment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from training.sharding import full, spread_like
from training.step.average import WeightAverage
from training.storage.state_file import pack_optimizer, unpack_optimizer


@dataclass(frozen=True)
class Snapshot:
    """What was learned at one moment, whole and on the CPU.

    Attributes:
        model: Parameters and buffers by name.
        average: The same with averaged parameters, if any.
        optimizer: The optimiser's tensors.
        optimizer_values: The rest of its state, as JSON values.
        scaler: The loss scaler's state, if any.
    """

    model: dict[str, Tensor]
    average: dict[str, Tensor] | None
    optimizer: dict[str, Tensor]
    optimizer_values: dict[str, Any]
    scaler: dict[str, Any] | None


@dataclass(frozen=True)
class Learned:
    """Everything that a step changes.

    Attributes:
        model: With its buffers, so with the priors.
        optimizer: The plain optimiser.
        average: Averaged weights, if any.
        scaler: Loss scaler of float16 training, if any.
    """

    model: nn.Module
    optimizer: Optimizer
    average: WeightAverage | None
    scaler: GradScaler | None

    def snapshot(self) -> Snapshot:
        """Copy everything to the CPU; sharded weights are gathered, so all processes call this together."""
        optimizer, values = pack_optimizer(self.optimizer)
        average = None
        if self.average is not None:
            with self.average.applied(self.model):
                average = _copies(self.model.state_dict())
        scaler = self.scaler.state_dict() if self.scaler is not None else None
        return Snapshot(_copies(self.model.state_dict()), average, _copies(optimizer), values, scaler)

    def restore(self, snapshot: Snapshot) -> None:
        """Put a snapshot back in place, however the run that took it spread its weights.

        Raises:
            KeyError: It lacks a weight.
            RuntimeError: A weight has another shape, or the model has none of that name.
            CheckpointError: The optimiser's state does not fit.
        """
        current = self.model.state_dict()
        self.model.load_state_dict(
            {name: spread_like(value, current.get(name, value)) for name, value in snapshot.model.items()}
        )
        if self.average is not None:
            self.average.load(self.model, snapshot.average or {})
        unpack_optimizer(self.optimizer, snapshot.optimizer, snapshot.optimizer_values)
        if self.scaler is not None and snapshot.scaler:
            self.scaler.load_state_dict(snapshot.scaler)


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Files hold tensors in one order of dimensions, whatever the model's.
    return {
        name: full(tensor.detach()).to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
