"""How many associations a layer holds: measured by training and bisection, and predicted (arXiv 2412.06538).

N random unit keys of width d are to recall N random unit values, each its own, by the best score: a linear map
``argmax_j v_j^T W k_i`` or a two-layer network ``v_j^T W_2 relu(W_1 k_i + b)``. A count N is held if training recalls
99 %. Capacity then follows ``N log N = c * parameters`` with c of about 0.77 for d^2 linear parameters, and 2.9 for
the m d of each matrix of the network (measured here).
"""

import math
from collections.abc import Callable
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor

KINDS: Final = ("outer_product", "linear", "mlp")

# N log N over d^2 (linear, outer product) or over m d (network).
CONSTANTS: Final = {"outer_product": 0.17, "linear": 0.77, "mlp": 2.9}
HELD: Final = 0.99


def predicted_capacity(kind: str, dim: int, hidden: int = 0) -> float:
    """Solve ``N log N = c * d * width`` for N.

    Args:
        kind: One of ``KINDS``.
        dim: Width d of keys and values.
        hidden: Hidden width m of the network; not for the others.

    Returns:
        Number of associations, at least 1.

    Raises:
        ValueError: If the kind is unknown, or a width is not positive.
    """
    _check(kind, dim, hidden)
    product = CONSTANTS[kind] * dim * (hidden if kind == "mlp" else dim)
    count = max(product, math.e)
    for _ in range(60):  # Newton's method on N log N - product, which is convex
        count = (count + product) / (math.log(count) + 1)
    return max(count, 1.0)


def capacity_probe(
    kind: str, dim: int, hidden: int = 0, outputs: int | None = None, steps: int = 3000, seed: int = 0
) -> int:
    """Find by bisection how many associations a layer holds.

    Args:
        kind: ``outer_product``, nothing trained: ``W = sum_i v_i k_i^T``; ``linear`` and ``mlp``: full-batch Adam.
        dim: Width d of keys and values.
        hidden: Hidden width m of the network.
        outputs: Number of distinct values; None: one for each key. With fewer, key i has value ``floor(i M / N)``.
        steps: Training steps after which a count is given up.
        seed: Seed of keys, values and initial weights.

    Returns:
        The largest count that was recalled to 99 %; to 2 % of itself.

    Raises:
        ValueError: If the kind is unknown, or a width is not positive.
    """
    _check(kind, dim, hidden)

    def held(count: int) -> bool:
        return recalled(kind, dim, count, hidden, outputs, steps, seed) >= HELD

    guess = max(int(predicted_capacity(kind, dim, hidden)), 2)
    return bisect(held, guess)


def bisect(held: Callable[[int], bool], guess: int) -> int:
    """Find the largest count for which a property holds, if it holds up to some count, and no further.

    Args:
        held: The property.
        guess: Where to start, at least 2.

    Returns:
        The count, to 2 % of itself; 1 if nothing holds.
    """
    low, high = guess, guess
    while low > 1 and not held(low):
        high, low = low, int(low / 1.5)
    if low == guess:
        while held(high := max(int(low * 1.5), low + 1)):
            low = high
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if held(middle) else (low, middle)
    return max(low, 1)


def recalled(
    kind: str, dim: int, count: int, hidden: int = 0, outputs: int | None = None, steps: int = 3000, seed: int = 0
) -> float:
    """Train a layer on `count` associations and measure the share that it recalls.

    Args:
        kind: One of ``KINDS``.
        dim: Width d.
        count: Number N of associations.
        hidden: Hidden width m of the network.
        outputs: See `capacity_probe`.
        steps: Training ends after these, or once 99 % are recalled.
        seed: Seed of everything random.

    Returns:
        The largest share seen.
    """
    generator = torch.Generator().manual_seed(seed)
    keys = F.normalize(torch.randn(count, dim, generator=generator), dim=-1)
    distinct = count if outputs is None else min(outputs, count)
    values = F.normalize(torch.randn(distinct, dim, generator=generator), dim=-1)
    targets = torch.arange(count) * distinct // count
    if kind == "outer_product":
        return _share(keys @ (keys.mT @ values[targets]) @ values.mT, targets)
    if kind == "linear":
        weights = [torch.zeros(dim, dim)]
        rate = 0.05
    else:
        first = torch.randn(dim, hidden, generator=generator) / dim**0.5
        second = torch.randn(hidden, dim, generator=generator) / hidden**0.5
        weights = [first, torch.zeros(hidden), second]
        rate = 0.03
    for weight in weights:
        weight.requires_grad_()
    optimiser = torch.optim.Adam(weights, lr=rate)
    best = 0.0
    for step in range(1, steps + 1):
        logits = _read(keys, weights) @ values.mT
        loss = F.cross_entropy(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 25 == 0:
            best = max(best, _share(logits.detach(), targets))
            if best >= HELD:
                break
    return best


def information_bound(subjects: int, relations: int, answers: int) -> float:
    """Compute the bits that facts hold: ``S R log2 D`` for D equally likely answers each.

    Any model that recalls all of them has at least so many bits of parameters (arXiv 2412.06538, section 6).
    """
    return subjects * relations * math.log2(answers)


def association_bits(count: int, outputs: int | None = None) -> float:
    """Compute the bits that a recalled set of associations holds: ``N log2 M``, where M is N unless given."""
    return count * math.log2(outputs or count)


def _read(keys: Tensor, weights: list[Tensor]) -> Tensor:
    if len(weights) == 1:
        return keys @ weights[0]
    first, bias, second = weights
    return (keys @ first + bias).relu() @ second


def _share(logits: Tensor, targets: Tensor) -> float:
    return float((logits.argmax(-1) == targets).float().mean())


def _check(kind: str, dim: int, hidden: int) -> None:
    if kind not in KINDS:
        raise ValueError(f"Unknown kind {kind!r}; choose one of {', '.join(KINDS)}.")
    if dim < 1 or (kind == "mlp" and hidden < 1):
        raise ValueError(f"Widths are at least 1, got {dim=} and {hidden=}.")
