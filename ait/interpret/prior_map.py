"""Which classes the priors of a model stand for, and whether its answers depend on them.

Two different things: what recalls a prior (a map of priors and classes) and what happens without it (accuracy with the
prior removed). A prior that only one class recalls may still change no answer.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from ait.associative_model import AssociativeModel
from ait.interpret.memory_report import answer, block_recall, trace_queries


@dataclass(frozen=True)
class PriorMap:
    """Priors, classes and accuracy, for L blocks of M priors and C classes.

    Attributes:
        shares: Share of each prior's recall that comes from images of each class, classes weighed alike so that their
            numbers do not matter; rows sum to one, shape (L, M, C).
        usage: Share of all recall that each prior gets, shape (L, M).
        accuracy: Accuracy of the model as it is.
        without: Accuracy with one prior removed from one block, shape (L, M).
        kept: Numbers of priors of the width curve, from none to all.
        by_width: Accuracy where each block keeps its most recalled priors alone, as many as `kept` says.
    """

    shares: Tensor
    usage: Tensor
    accuracy: float
    without: Tensor
    kept: list[int]
    by_width: list[float]

    @property
    def largest_drop(self) -> float:
        """Largest loss of accuracy by removing one prior."""
        return self.accuracy - float(self.without.min())

    def summary(self) -> str:
        """Say in a few lines whether the priors matter."""
        block, prior = divmod(int(self.without.argmin()), self.without.shape[1])
        return "\n".join(
            [
                f"accuracy {self.accuracy:.1%}; without any memory {self.by_width[0]:.1%}",
                f"removing one prior costs at most {self.largest_drop:.1%} (prior {prior} of block {block}), "
                f"{self.accuracy - float(self.without.mean()):.2%} on average",
                "with the most recalled priors alone: "
                + ", ".join(f"{n}: {a:.1%}" for n, a in zip(self.kept, self.by_width, strict=True)),
            ]
        )


@torch.no_grad()
def prior_map(
    model: AssociativeModel, images: Tensor, labels: Tensor, num_classes: int, batch_size: int = 256
) -> PriorMap:
    """Relate the priors of each block to classes, and remove them one by one.

    The model is read in evaluation mode and left as it was; its memory is not written. Takes L M passes over the
    images.

    Args:
        model: An AiT model whose outputs are the classes.
        images: Normalised images, shape (B, C, H, W), on the model's device.
        labels: Their classes, shape (B,).
        num_classes: Number of classes.
        batch_size: Images run at once.

    Raises:
        TypeError: If the model has no associative memory.
        ValueError: If there are no images, or not as many labels.
    """
    if not isinstance(model, AssociativeModel) or not model.associative_blocks():
        raise TypeError(
            f"{type(model).__name__} has no associative memory in its blocks; use an ait_* model with one."
        )
    if len(images) == 0 or len(images) != len(labels):
        raise ValueError(f"Need images and as many labels, got {len(images)} and {len(labels)}.")
    blocks = model.associative_blocks()
    training = model.training
    model.eval()
    try:
        recall = [
            torch.stack([block_recall(b, q).weights.mean(1) for b, q in zip(blocks, trace.queries, strict=True)])
            for trace in (trace_queries(model, batch) for batch in images.split(batch_size))
        ]
        weights = torch.cat(recall, dim=1)  # (L, B, M)
        own = torch.nn.functional.one_hot(labels, num_classes).to(weights)  # (B, C)
        per_class = weights.mT @ (own / own.sum(0).clamp_min(1))  # (L, M, C)
        usage = weights.mean(1)
        count = usage.shape[1]
        priors = [block.workspace.memory.priors.clone() for block in blocks]
        without = torch.empty(len(blocks), count)
        for index in range(len(blocks)):
            for prior in range(count):
                rest = [p if i != index else p[torch.arange(count) != prior] for i, p in enumerate(priors)]
                without[index, prior] = _accuracy(model, images, labels, rest, batch_size)
        order = usage.argsort(dim=1, descending=True)
        kept = [n for n in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256) if n < count] + [count]
        by_width = [
            _accuracy(model, images, labels, [p[o[:n]] for p, o in zip(priors, order, strict=True)], batch_size)
            for n in kept
        ]
    finally:
        model.train(training)
    shares = per_class / per_class.sum(-1, keepdim=True).clamp_min(torch.finfo(per_class.dtype).tiny)
    return PriorMap(shares.cpu(), usage.cpu(), by_width[-1], without, kept, by_width)


def _accuracy(
    model: AssociativeModel, images: Tensor, labels: Tensor, priors: Sequence[Tensor], batch_size: int
) -> float:
    right = 0
    with _replaced(model, priors):
        for batch, answers in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            right += int((answer(model, batch).argmax(-1) == answers).sum())
    return right / len(images)


@contextmanager
def _replaced(model: AssociativeModel, priors: Sequence[Tensor]) -> Iterator[None]:
    """Let the blocks read other priors for a while; of none, they retrieve zero."""
    memories = [block.workspace.memory for block in model.associative_blocks()]
    before = [memory.priors for memory in memories]
    try:
        for memory, other in zip(memories, priors, strict=True):
            # A prior of zero is stored as a pattern of zero, whatever the kernel.
            memory.priors = other if len(other) else other.new_zeros(1, other.shape[1])
        yield
    finally:
        for memory, original in zip(memories, before, strict=True):
            memory.priors = original
