"""Time a training step of a table's rows in turns; trials share a machine for hours, their own do not compare."""

from collections.abc import Sequence

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.experiments.step_times import step_times
from training.experiments.tables.datasets import TABLE_DATA
from training.experiments.tables.trial import TableTrial

_BATCH = 32  # images of a step


def step_seconds(rows: Sequence[TableTrial]) -> dict[str, float]:
    """Time a step of each row's model, with all that its loss is made of.

    Args:
        rows: Trials of one data set, each with a label of its own.

    Returns:
        Seconds by label.
    """
    data = TABLE_DATA[rows[0].dataset]
    models = {row.label: timm.create_model(row.model, num_classes=data.classes, **row.model_args()) for row in rows}
    images = torch.randn(_BATCH, 3, data.img_size, data.img_size, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(_BATCH) % data.classes

    def loss(model: nn.Module) -> Tensor:
        train = getattr(model, "forward_training", None)
        if train is None:
            return F.cross_entropy(model(images), labels)
        output = train(images)
        return F.cross_entropy(output.logits, labels) + 1e-2 * output.balance_loss

    return step_times(models, loss)


def over_first(seconds: dict[str, float], first: str) -> dict[str, str]:
    """Write the time of each step over that of one of them, or dashes where that one was not timed."""
    base = seconds.get(first)
    return {label: f"{each / base:.2f}" if base else "–" for label, each in seconds.items()}
