"""Compare an exported model with the eager one: no file is accepted unseen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor

BATCH_SIZES: Final = (1, 2, 5, 16)
# Runtimes order their sums differently; float32 logits then differ by about 1e-6 of the largest.
TOLERANCE: Final = 1e-4

Predict = Callable[[Tensor], Tensor]


class ExportError(ValueError):
    """A model that cannot be exported, or whose exported file does not answer as the model does."""


@dataclass(frozen=True)
class Agreement:
    """How far an exported model's outputs are from the eager model's.

    Attributes:
        images: Images compared, each at every batch size.
        batch_sizes: Images a call.
        largest_difference: Largest absolute difference of an output.
        largest_output: Largest absolute output of the eager model.
        same_top_class: Share of answers with the same top class.
    """

    images: int
    batch_sizes: tuple[int, ...]
    largest_difference: float
    largest_output: float
    same_top_class: float

    def within(self, tolerance: float) -> bool:
        """Whether the difference is at most `tolerance` of the largest output (of 1, if that is smaller)."""
        return self.largest_difference <= self.allowed(tolerance)  # NaN is not

    def allowed(self, tolerance: float) -> float:
        """Return the largest absolute difference that a tolerance allows."""
        return tolerance * max(1.0, self.largest_output)

    def __str__(self) -> str:
        sizes = ", ".join(str(size) for size in self.batch_sizes)
        return (
            f"{self.images} images at batches of {sizes}: largest difference {self.largest_difference:.1e} of outputs "
            f"up to {self.largest_output:.3g}, top class equal for {self.same_top_class:.2%}"
        )


@dataclass(frozen=True)
class Export:
    """A file or folder that was accepted.

    Attributes:
        path: Where it is.
        size: Bytes, of all files.
        agreement: What was compared.
    """

    path: Path
    size: int
    agreement: Agreement


@torch.no_grad()
def compare(eager: Predict, exported: Predict, images: Tensor, batch_sizes: Sequence[int] = BATCH_SIZES) -> Agreement:
    """Put every image through both, at every batch size.

    Args:
        eager: The model.
        exported: What should answer as it does.
        images: Shape (N, C, H, W); fewer than the largest batch are repeated.
        batch_sizes: Images a call; the last batch of each size may be smaller.
    """
    count = len(images)
    images = images.repeat(-(-max(batch_sizes) // count), 1, 1, 1)
    differences, outputs, same = [], [], []
    for size in batch_sizes:
        for batch in images.split(size):
            expected, answer = eager(batch), exported(batch)
            if expected.shape != answer.shape:
                raise ExportError(f"outputs of shape {tuple(answer.shape)}, the model's {tuple(expected.shape)}.")
            differences.append((expected - answer).abs().max())
            outputs.append(expected.abs().max())
            same.append(expected.argmax(dim=1) == answer.argmax(dim=1))
    return Agreement(
        images=count,
        batch_sizes=tuple(batch_sizes),
        largest_difference=float(torch.stack(differences).max()),
        largest_output=float(torch.stack(outputs).max()),
        same_top_class=float(torch.cat(same).float().mean()),
    )


def check_agreement(eager: Predict, exported: Predict, images: Tensor, tolerance: float, what: str) -> Agreement:
    """Compare, and refuse what differs.

    Args:
        eager: The model.
        exported: What should answer as it does.
        images: Shape (N, C, H, W).
        tolerance: Largest difference, as a share of the largest output.
        what: Name of the file's kind, for the message.

    Raises:
        ExportError: The outputs differ by more.
    """
    agreement = compare(eager, exported, images)
    if not agreement.within(tolerance):
        raise ExportError(
            f"the {what} was refused and deleted, because it does not answer as the model does: {agreement}; "
            f"at most {agreement.allowed(tolerance):.1e} is allowed."
        )
    return agreement
