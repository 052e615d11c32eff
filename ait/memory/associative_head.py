"""A classifier that answers by recall: every class is a few unit-norm priors, and the logits are what is retrieved.

With queries ``q`` and priors ``p`` of unit norm, K priors a class, and U the priors' one-hot classes,

    softmax(logits) = softmax(beta q P^T) U        (one Hopfield retrieval, arXiv 2008.02217, of the classes)
    logits_c        = log mean_k exp(beta q p_ck)

so a class that holds nothing is never answered, and where all classes hold the same the logits are constant. With one
prior a class this is the cosine classifier of arXiv 1804.09458. In training the gradient reaches the priors in full;
afterwards a class is taught by writing its examples (the EWMA of arXiv 2309.12862, eq. 6, or a running mean).
"""

import math
from typing import Any, Final

import torch
import torch.nn.functional as F
from timm.models import register_notrace_module
from torch import Tensor, nn

from ait.collectives import all_gather_rows, all_reduce_sum

HEADS: Final = ("linear", "associative")

# Rounds of assignment by which the first examples of a class are divided among its priors.
_ROUNDS = 8


@register_notrace_module
class AssociativeHead(nn.Module):
    """Class memories, read by Hopfield retrieval; a layer for any backbone that pools to one vector an image.

    The priors are float32 whatever the precision of the backbone, and frozen in evaluation: only `teach` writes
    them. They are a parameter, called ``weight`` as in ``nn.Linear``, so that tools which replace or leave out a
    classifier by that name go on working; only its directions count.

    Args:
        in_features: Width F of the features.
        num_classes: Classes C.
        num_priors: Priors K a class.
        beta: Start of the learned inverse temperature.
        write_rate: Step by which one example moves a prior that training has learned (EWMA).

    Raises:
        ValueError: An argument is out of range.
    """

    write_rate: Final[float]
    examples: Tensor

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        num_priors: int = 4,
        beta: float = 10.0,
        write_rate: float = 0.1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if min(in_features, num_classes, num_priors) < 1:
            raise ValueError(
                f"in_features, num_classes and num_priors are at least 1, got {in_features=}, {num_classes=} and "
                f"{num_priors=}."
            )
        if beta <= 0 or not 0 < write_rate <= 1:
            raise ValueError(f"beta is positive and write_rate lies in (0, 1], got {beta=} and {write_rate=}.")
        del dtype  # as for every memory: rounding would add up over writes
        dd: dict[str, Any] = {"device": device, "dtype": torch.float32}
        self.in_features = in_features
        self.num_classes = num_classes
        self.num_priors = num_priors
        self.write_rate = write_rate
        self.start_beta = beta
        self.weight = nn.Parameter(torch.empty(num_classes * num_priors, in_features, **dd))  # class by class
        self.log_beta = nn.Parameter(torch.empty((), **dd))
        self.register_buffer("examples", torch.empty(num_classes * num_priors, **dd))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw random priors, and start from the given beta."""
        with torch.no_grad():
            self.weight.copy_(F.normalize(torch.randn_like(self.weight), dim=-1))
            self.examples.zero_()
        nn.init.constant_(self.log_beta, math.log(self.start_beta))

    def priors(self) -> Tensor:
        """Return the unit-norm priors, shape (C, K, F), float32; zero where a class holds nothing yet."""
        priors = F.normalize(self.weight.float(), dim=-1)
        # At zero the slope of the normalisation is without bound.
        priors = priors.where(self.weight.any(-1, keepdim=True), 0.0)
        return priors.unflatten(0, (self.num_classes, self.num_priors))

    def beta(self) -> Tensor:
        """Return the inverse temperature, a scalar tensor."""
        return self.log_beta.exp()

    def forward(self, features: Tensor) -> Tensor:
        """Features (..., F) to logits (..., C) in the features' precision."""
        if torch.jit.is_scripting():
            return self._recall(features)
        if torch.is_autocast_enabled(features.device.type):
            # Cosines rounded to eight bits, times beta, would be off by as much as classes differ.
            with torch.autocast(features.device.type, enabled=False):
                return self._recall(features)
        return self._recall(features)

    def _recall(self, features: Tensor) -> Tensor:
        return self._logits(self._overlap(features)).to(features.dtype)

    def _overlap(self, features: Tensor) -> Tensor:
        """Cosines of features (..., F) with all priors, (..., C * K); -1 with those that hold nothing."""
        priors = F.normalize(self.weight.float(), dim=-1)  # (C * K, F)
        overlap = F.normalize(features.float(), dim=-1) @ priors.mT
        return _unless_empty(overlap, priors)

    def _logits(self, overlap: Tensor) -> Tensor:
        """Cosines with all priors (..., C * K) to logits (..., C): minus the energy of each class's memory."""
        scaled = self.log_beta.exp() * overlap.unflatten(-1, [self.num_classes, self.num_priors])
        return scaled.logsumexp(-1) - math.log(self.num_priors)

    @torch.jit.unused
    def recall_weights(self, features: Tensor) -> Tensor:
        """Weight with which features (..., F) recall each prior, shape (..., C, K); sums to one over both."""
        return (self.beta() * self._overlap(features)).softmax(-1).unflatten(-1, (self.num_classes, self.num_priors))

    @torch.jit.unused
    def forward_with_batch(self, features: Tensor, labels: Tensor, rate: float) -> Tensor:
        """Classify a training batch by the priors as the batch would write them, each image without its own write.

        The examples of a class compete for its priors, and each prior moves by ``rate`` towards the mean of what it
        won (over all processes). Nothing is stored. An image never reads itself: its own class's priors are moved by
        the others alone.

        Args:
            features: Shape (B, F).
            labels: Shape (B,), int64.
            rate: Share of the batch in the priors that are read, in [0, 1).

        Returns:
            Logits, shape (B, C), float32.
        """
        with torch.autocast(features.device.type, enabled=False):  # as in `forward`
            return self._with_batch(features, labels, rate)

    @torch.jit.unused
    def _with_batch(self, features: Tensor, labels: Tensor, rate: float) -> Tensor:
        priors, query = self.priors(), F.normalize(features.float(), dim=-1)  # (C, K, F), (B, F)
        own = priors[labels]  # (B, K, F)
        won = (self.beta() * torch.einsum("bf,bkf->bk", query, own)).softmax(-1)  # (B, K)
        contribution = won.unsqueeze(-1) * query.unsqueeze(1)  # (B, K, F)
        sums = all_reduce_sum(torch.zeros_like(priors).index_add(0, labels, contribution))
        moved = _moved(priors, sums, rate).flatten(0, 1)  # (C * K, F)
        overlap = _unless_empty(query @ moved.mT, moved)  # (B, C * K)
        moved = _moved(own, sums[labels] - contribution, rate)  # (B, K, F)
        left_out = _unless_empty(torch.einsum("bf,bkf->bk", query, moved), moved)
        overlap = overlap.unflatten(-1, (self.num_classes, self.num_priors))
        is_own = F.one_hot(labels, self.num_classes).bool().unsqueeze(-1)  # (B, C, 1)
        return self._logits(torch.where(is_own, left_out.unsqueeze(1), overlap).flatten(1))

    @torch.jit.ignore
    @torch.no_grad()
    def add_classes(self, count: int) -> None:
        """Add classes that hold nothing yet, after the others.

        ``weight`` becomes another parameter: an optimiser made before does not know it.
        """
        rows = count * self.num_priors
        self.weight = nn.Parameter(torch.cat([self.weight, self.weight.new_zeros(rows, self.in_features)]))
        self.examples = torch.cat([self.examples, self.examples.new_zeros(rows)])
        self.num_classes += count

    @torch.jit.ignore
    @torch.no_grad()
    def forget(self, label: int) -> None:
        """Empty a class's memory; it is never answered until it is taught again."""
        rows = self._rows(label)
        self.weight[rows] = 0
        self.examples[rows] = 0

    @torch.jit.ignore
    @torch.no_grad()
    def teach(self, label: int, features: Tensor, rate: float | None = None) -> None:
        """Write examples of one class into its memory, without training.

        A class that holds nothing divides them among its priors, or gives all priors their mean if there are fewer
        than two a prior. After that every example is won by the nearest prior, which moves towards it: one that was
        taught stays the mean of its examples, one that training learned moves by ``write_rate`` an example.

        Processes each bring their own examples, possibly none, and hold the same priors afterwards.

        Args:
            label: Class, 0 <= label < C.
            features: Features of its examples, shape (n, F).
            rate: Step of the whole write in place of both, in (0, 1].

        Raises:
            ValueError: There is no such class, the features have another width, or are not finite.
        """
        rows = self._rows(label)
        examples = all_gather_rows(features.float())
        if examples.ndim != 2 or examples.shape[1] != self.in_features:
            raise ValueError(f"Expected features of shape (n, {self.in_features}), got {tuple(features.shape)}.")
        if not examples.isfinite().all():
            raise ValueError("The features hold NaN or infinity.")
        if not len(examples):
            return
        examples = F.normalize(examples, dim=-1)
        priors, known = self.weight[rows].float(), self.examples[rows]
        if not priors.any():
            self.weight[rows], self.examples[rows] = _divide(examples, self.num_priors)
            return
        overlap = examples @ F.normalize(priors, dim=-1).mT  # (n, K)
        # Priors that are alike win alike: a class taught one by one holds the mean of all in each.
        winners = (overlap >= overlap.amax(-1, keepdim=True) - 1e-6).float()
        counts = winners.sum(0)
        mean = (winners.mT @ examples) / counts.clamp_min(1).unsqueeze(-1)
        taught = (known > 0) & (rate is None)
        step = torch.where(taught, counts / (known + counts).clamp_min(1), 1 - (1 - self.write_rate) ** counts)
        if rate is not None:
            step = rate * (counts > 0)
        start = torch.where(taught.unsqueeze(-1), priors, F.normalize(priors, dim=-1))
        self.weight[rows] = torch.lerp(start, mean, step.unsqueeze(-1))
        self.examples[rows] = torch.where(known > 0, known + counts, known)

    def _rows(self, label: int) -> slice:
        if not 0 <= label < self.num_classes:
            raise ValueError(f"There is no class {label}: the head has {self.num_classes}; see add_classes.")
        return slice(label * self.num_priors, (label + 1) * self.num_priors)

    def extra_repr(self) -> str:
        """Sizes, as ``print(model)`` shows them."""
        return f"{self.in_features}, {self.num_classes}, num_priors={self.num_priors}"


def _unless_empty(overlap: Tensor, priors: Tensor) -> Tensor:
    """Cosines (..., P) with priors (..., P, F), and -1 with those that hold nothing."""
    return torch.where((priors == 0).all(-1), torch.full_like(overlap, -1.0), overlap)


def _moved(priors: Tensor, sums: Tensor, rate: float) -> Tensor:
    """Priors (..., F) moved by ``rate`` towards the direction of sums (..., F), where there is one."""
    norm = sums.norm(dim=-1, keepdim=True)
    return F.normalize(torch.lerp(priors, sums / norm.clamp_min(1e-6), rate * (norm > 1e-4).float()), dim=-1)


def _divide(examples: Tensor, num_priors: int) -> tuple[Tensor, Tensor]:
    """Divide unit-norm examples (n, F) among priors by spherical k-means: their means (K, F) and counts (K,)."""
    if len(examples) < 2 * num_priors:
        count = torch.full((num_priors,), float(len(examples)), device=examples.device)
        return examples.mean(0).expand(num_priors, -1), count
    # The example nearest the mean, then always the one farthest from those chosen: no random numbers, so that all
    # processes choose alike.
    chosen = (examples @ examples.mean(0)).argmax().view(1)
    while len(chosen) < num_priors:
        nearest = (examples @ examples[chosen].mT).amax(-1)
        chosen = torch.cat([chosen, nearest.argmin().view(1)])
    means, counts = examples[chosen], examples.new_ones(num_priors)
    for _ in range(_ROUNDS):
        winners = F.one_hot((examples @ F.normalize(means, dim=-1).mT).argmax(-1), num_priors).float()
        won = winners.sum(0)
        means = torch.where(won.unsqueeze(-1) > 0, (winners.mT @ examples) / won.clamp_min(1).unsqueeze(-1), means)
        counts = won.clamp_min(1)
    return means, counts


def make_classifier(
    head: str, in_features: int, num_classes: int, head_args: dict[str, Any] | None = None, **dd: Any
) -> nn.Module:
    """Make the classifier of a model.

    Args:
        head: One of `HEADS`.
        in_features: Width F of what it reads.
        num_classes: Classes C; 0 makes one that gives what it reads.
        head_args: Arguments of `AssociativeHead` that differ from its defaults.
        **dd: Device and dtype.

    Returns:
        A module from features (..., F) to logits (..., C).

    Raises:
        ValueError: There is no such head.
    """
    if head not in HEADS:
        raise ValueError(f"Unknown head {head!r}; choose one of {', '.join(HEADS)}.")
    if num_classes < 1:
        return nn.Identity()
    if head == "associative":
        return AssociativeHead(in_features, num_classes, **(head_args or {}), **dd)
    return nn.Linear(in_features, num_classes, **dd)
