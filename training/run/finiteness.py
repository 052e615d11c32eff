"""Stop a run whose loss or weights are no longer finite."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from training import sharding
from training.errors import NonFiniteLossError
from training.run.output.state import Position
from training.storage.history import Row


class FinitenessCheck:
    """Raise an error with a remedy where losses or weights are NaN or infinite.

    Args:
        remedies: What to try, for the message.
        output: The run's folder, for the message.

    Raises:
        NonFiniteLossError: From every method; the last checkpoint is intact.
    """

    def __init__(self, remedies: Sequence[str], output: Path) -> None:
        self._remedies = remedies
        self._output = output

    def losses(self, losses: Sequence[Tensor], position: Position) -> None:
        """Check the losses of the latest steps, scalars, the last of them that of ``position.step``."""
        if not losses:
            return
        finite = torch.stack(list(losses)).isfinite().tolist()
        if not all(finite):
            raise self._error(f"at step {position.step - len(losses) + finite.index(False) + 1}", position)

    def validation(self, row: Row, position: Position) -> None:
        """Check the losses of a validation."""
        if not all(math.isfinite(value) for name, value in row.items() if name in ("val_loss", "ema_val_loss")):
            raise self._error(f"in the validation after step {position.step}", position)

    def weights(self, model: nn.Module, position: Position) -> None:
        """Check every parameter; all processes call this together.

        The loss of a step is of the weights before it, so that weights which it broke show only here.
        """
        if not sharding.all_finite(model):
            raise self._error(f"after step {position.step}, for the weights are not", position)

    def _error(self, when: str, position: Position) -> NonFiniteLossError:
        return NonFiniteLossError(
            f"the loss is not finite {when} (epoch {position.epoch + 1}); {' or '.join(self._remedies)}; "
            f"the last checkpoint in {self._output} is intact"
        )
