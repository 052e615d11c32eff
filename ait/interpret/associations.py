"""How many associations the layers of a trained model can hold: what theory predicts, and what a probe finds.

A linear map of n parameters that was trained to recall N facts holds ``N log N = 0.77 n``, a network of two layers
``N log N = 2.9 n`` with n the parameters of one of them (arXiv 2412.06538; the constants are measured). A recall by
the exponential kernel holds N patterns while its signal stands above its noise (arXiv 2505.19488).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ait.associative_model import AssociativeModel
from ait.block import AssociativeBlock
from ait.interpret.feed_forward import feed_forward_inputs, feed_forwards
from ait.interpret.memory_report import answer, memory_report
from ait.memory.kernels import sphere_inverse_snr

LINEAR, TWO_LAYERS = 0.77, 2.9
RECALL = 0.99  # share of facts that must be recalled
_QUERIES = 1000  # facts that are asked for
_PRECISION = 1.03  # ratio of the bounds at which a bisection ends
_RIDGE = 1e-5  # of the mean squared activation
_MOST_PREDICTED = 10**9
_NO_EFFECT = 0.005  # share of answers: a memory that changes fewer does not decide


@dataclass(frozen=True)
class FeedForwardCapacity:
    """Facts that one feed-forward network of m keys can hold.

    Attributes:
        name: Of the module.
        width: Numbers in a token, E.
        keys: Number of keys m.
        predicted: Facts that it could hold if both matrices were trained for them.
        predicted_values: If the values alone were, the keys being what they are.
        probed: Facts found to be held when the values alone are computed for them, in closed form.
        bounded: True where the probe ended at its largest number, and more may be held.
    """

    name: str
    width: int
    keys: int
    predicted: int
    predicted_values: int
    probed: int
    bounded: bool


@dataclass(frozen=True)
class PriorCapacity:
    """Patterns that the memory of one block tells apart.

    Attributes:
        block: Position of the block.
        priors: Number of priors M that it has.
        width: Numbers in a prior, D.
        predicted: Random unit priors that their own patterns recall with a signal above the noise, by theory, at most
            10^9; None where the kernel has no closed form. Theory takes the map from priors to tokens to keep angles,
            and what is recalled to be independent of the query; here a pattern recalls itself.
        probed: The same, found through the block's own map.
        bounded: True where the probe ended at its largest number, and more may be held.
        in_use: Priors in use on the images, the perplexity of the mean recall; None without images.
        snr: Median signal over noise of what their patches recall; None without images.
    """

    block: int
    priors: int
    width: int
    predicted: int | None
    probed: int
    bounded: bool
    in_use: float | None
    snr: float | None


@dataclass(frozen=True)
class Capacity:
    """What a model can hold.

    Attributes:
        feed_forward: One entry per network.
        memory: One entry per block with priors; empty of a model without.
        changed: Share of answers to the images that change when retrieval is switched off; None without images or
            without memory.
        hint: Whether more priors would pay, as far as these figures tell; empty of a model without memory.
    """

    feed_forward: tuple[FeedForwardCapacity, ...]
    memory: tuple[PriorCapacity, ...]
    changed: float | None
    hint: str


@torch.no_grad()
def measure_capacity(model: nn.Module, images: Tensor | None = None, *, most: int = 16_384, seed: int = 0) -> Capacity:
    """Predict and probe what the layers of a model can hold.

    The probe of a feed-forward network takes tokens as keys and random directions as values, computes the second
    matrix that recalls them best (ridge regression), and finds the largest number of facts of which `RECALL` come
    back as the nearest value.

    Args:
        model: A timm model with `timm.layers.Mlp` in its blocks, in evaluation mode on the CPU.
        images: Normalised images whose tokens are the keys, shape (B, C, H, W); None takes Gaussian keys.
        most: Facts at most.
        seed: Of keys and values.

    Raises:
        TypeError: The model has no such network.
    """
    found = feed_forwards(model)
    if not found:
        raise TypeError(f"{type(model).__name__} has no feed-forward networks of two matrices to probe.")
    generator = torch.Generator().manual_seed(seed)
    tokens = {} if images is None else feed_forward_inputs(model, images)
    networks = tuple(
        _network_capacity(name, module, tokens.get(name), most, generator) for name, module in found.items()
    )
    if not isinstance(model, AssociativeModel) or not model.associative_blocks():
        return Capacity(networks, (), None, "")
    blocks = model.associative_blocks()
    seen: Sequence[tuple[float | None, float | None]] = [(None, None)] * len(blocks)
    changed = None
    if images is not None:
        seen = [(report.usage_perplexity, report.retrieval_snr) for report in memory_report(model, images)]
        changed = answers_changed_without_memory(model, images)
    memories = tuple(
        _prior_capacity(index, block, most, generator, *told)
        for index, (block, told) in enumerate(zip(blocks, seen, strict=True))
    )
    return Capacity(networks, memories, changed, _hint(memories, changed))


def _network_capacity(
    name: str, module: Any, tokens: Tensor | None, most: int, generator: torch.Generator
) -> FeedForwardCapacity:
    width, count = int(module.fc1.weight.shape[1]), int(module.fc1.weight.shape[0])
    keys = torch.randn(most, width, generator=generator) if tokens is None else torch.unique(tokens, dim=0)
    keys = keys[torch.randperm(len(keys), generator=generator)[:most]]
    hidden = module.act(module.fc1(keys)).float()
    values = F.normalize(torch.randn(len(keys), width, generator=generator), dim=1)
    probed = largest(lambda stored: recall_share(hidden[:stored], values[:stored]) >= RECALL, len(keys))
    return FeedForwardCapacity(
        name=name,
        width=width,
        keys=count,
        predicted=facts(TWO_LAYERS * width * count),
        predicted_values=facts(LINEAR * width * count),
        probed=probed,
        bounded=probed == len(keys),
    )


def facts(bound: float) -> int:
    """Solve ``N ln N = bound`` for N by Newton's steps, rounded down; at least 1."""
    count = max(bound, 2.0)
    for _ in range(50):
        count -= (count * math.log(count) - bound) / (math.log(count) + 1)
        count = max(count, 1.0001)
    return max(1, int(count))


def recall_share(hidden: Tensor, values: Tensor) -> float:
    """Store facts in a second matrix in closed form, and recall them.

    Args:
        hidden: Activations of each key, shape (N, m).
        values: Unit vectors to be recalled, shape (N, E).

    Returns:
        Share of (at most `_QUERIES`) facts whose value is the nearest to what comes back.
    """
    gram = (hidden.T @ hidden).double()
    penalty = _RIDGE * gram.diagonal().mean().clamp_min(1e-12)
    gram.diagonal().add_(penalty)
    stored = torch.linalg.solve(gram, (hidden.T @ values).double()).float()  # (m, E)
    asked = torch.linspace(0, len(hidden) - 1, min(_QUERIES, len(hidden))).long()
    recalled = (hidden[asked] @ stored) @ values.T  # (q, N)
    return float((recalled.argmax(1) == asked).double().mean())


def largest(holds: Callable[[int], bool], most: int) -> int:
    """Find the largest count, from 1 to `most`, that holds, where smaller ones do; to 3 % of its value."""
    low, high = 1, 2
    while high < most and holds(high):
        low, high = high, 2 * high
    if high >= most:
        if holds(most):
            return most
        high = most
    while high > max(low + 1, low * _PRECISION):
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


@torch.no_grad()
def answers_changed_without_memory(model: AssociativeModel, images: Tensor, batch_size: int = 64) -> float:
    """Compute the share of images whose most probable class changes when nothing is retrieved.

    Args:
        model: In evaluation mode.
        images: Normalised images, shape (B, C, H, W).
        batch_size: Images run at once.
    """
    whole = torch.cat([answer(model, batch).argmax(1) for batch in images.split(batch_size)])
    hooks = [
        block.workspace.ls.register_forward_hook(lambda _, __, retrieved: torch.zeros_like(retrieved))
        for block in model.associative_blocks()
    ]
    try:
        without = torch.cat([answer(model, batch).argmax(1) for batch in images.split(batch_size)])
    finally:
        for hook in hooks:
            hook.remove()
    return float((whole != without).double().mean())


def _prior_capacity(
    index: int,
    block: AssociativeBlock,
    most: int,
    generator: torch.Generator,
    in_use: float | None,
    snr: float | None,
) -> PriorCapacity:
    retrieval, priors = block.workspace.retrieval, block.workspace.memory.priors
    width = priors.shape[1]
    squared_gain = float(retrieval.patterns(priors).square().sum(1).mean())  # of the map, as priors have length 1
    predicted = None
    if retrieval.kernel != "d1" and retrieval.steps == 1:
        # Between patterns of equal length the distance kernel is the exponential one.
        temperature = 1 / (float(retrieval.beta()) * squared_gain)
        noise = sphere_inverse_snr("exp", width, 2, temperature=temperature)  # of one other pattern
        predicted = int(min(1 + 1 / noise, _MOST_PREDICTED))

    def holds(count: int) -> bool:
        made = F.normalize(torch.randn(count, width, generator=generator), dim=1)
        patterns = retrieval.patterns(made).float()
        asked = patterns[: min(count, _QUERIES)]
        _, weights = retrieval(asked, made)
        signal = weights[:, : len(asked)].diagonal()[:, None] * asked
        noise = (weights @ patterns - signal).square().sum()
        return bool(signal.square().sum() >= noise)

    probed = largest(holds, most)
    return PriorCapacity(index, len(priors), width, predicted, probed, probed == most, in_use, snr)


def _hint(memories: tuple[PriorCapacity, ...], changed: float | None) -> str:
    if changed is not None and changed < _NO_EFFECT:
        return (
            f"Switching retrieval off changes {changed:.1%} of the answers: the memory does not decide, and more "
            "priors would not pay."
        )
    idle = [each.block for each in memories if each.in_use is not None and each.in_use < 0.5 * each.priors]
    if idle:
        return f"Blocks {_listed(idle)} use fewer than half of their priors: more would not pay there."
    full = [each.block for each in memories if each.probed < 2 * each.priors]
    if full:
        return (
            f"Blocks {_listed(full)} tell apart fewer than twice as many patterns as they have priors: more would "
            "blur each other; raise beta or the width of a prior first."
        )
    if changed is None:
        return "There is room for more priors; whether these are in use, images can tell."
    return "There is room for more priors, and these are in use: more may pay. Only training with more can tell."


def _listed(blocks: list[int]) -> str:
    return ", ".join(map(str, blocks))
