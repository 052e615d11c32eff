"""Exemplar recall by distance and by dot product, and the nearest-neighbour view of energies (arXiv 2405.08707).

Patterns have normal entries, times a log-normal factor of mean one each, and queries noise of 0.2 an entry. An
exemplar is recalled if one retrieval step leads nearer to it than to any other pattern. That asks more of the weights
than which of them is largest: among many short patterns a few others share in the average, so that distances lose some
too, by their inverse temperature and not by their order.
"""

import torch

from ait.memory.global_energy import nearest_neighbour_bounds, nearest_pattern, separation_radius
from ait.memory.hopfield import energy, recall_weights
from training.experiments import style
from training.experiments.outcome import Check, Outcome

COUNT, DIM, NOISE, BETA = 256, 32, 0.2, 4.0
SPREADS = (0.0, 0.5, 1.0)
# Share of exemplars recalled at each spread of log norms.
EXPECTED = {"dot": (1.0, 0.54, 0.22), "d2": (1.0, 1.0, 0.82), "d1": (1.0, 0.99, 0.78)}
# What one draw deviates by, up to 0.05 for dot products and 0.03 for distances, and the mean of many by a hundredth.
MARGIN = 0.06
READINGS = ("nearest to what is retrieved", "largest weight")


def exemplars(spread: float, generator: torch.Generator) -> torch.Tensor:
    """Draw patterns of normal entries times exp(spread * normal), divided by its mean; shape (COUNT, DIM)."""
    entries = torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64)
    logs = spread * torch.randn(COUNT, 1, generator=generator, dtype=torch.float64)
    return entries * (logs - spread**2 / 2).exp()


def recalled(patterns: torch.Tensor, queries: torch.Tensor, kernel: str) -> tuple[float, float]:
    """Measure the share of patterns nearest to what their query retrieves, and of those with the largest weight."""
    weights = recall_weights(queries, patterns, BETA, kernel)
    own = torch.arange(len(patterns))
    nearest = torch.cdist(weights @ patterns, patterns).argmin(-1)
    return float((nearest == own).double().mean()), float((weights.argmax(-1) == own).double().mean())


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Measure recall of noisy exemplars whose norms differ more and more, and how near energies come to distances."""
    generator = torch.Generator().manual_seed(seed)
    trials = 100 if full else 20
    shares: dict[str, dict[str, list[float]]] = {
        reading: {kernel: [0.0] * len(SPREADS) for kernel in EXPECTED} for reading in READINGS
    }
    for place, spread in enumerate(SPREADS):
        for _ in range(trials):
            patterns = exemplars(spread, generator)
            queries = patterns + NOISE * torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64)
            for kernel in EXPECTED:
                for reading, share in zip(READINGS, recalled(patterns, queries, kernel), strict=True):
                    shares[reading][kernel][place] += share / trials
    accuracy = shares[READINGS[0]]

    patterns = exemplars(0.5, generator)
    queries = patterns + 0.5 * torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64)
    distance, _ = nearest_pattern(queries, patterns)
    own, _ = nearest_pattern(patterns, patterns, exclude_self=True)
    value = energy(queries, patterns, BETA, "d1")
    low, high = nearest_neighbour_bounds(distance, COUNT, BETA)
    radius = float(separation_radius(patterns))
    checks = [
        Check(
            "excess of the energy over its bounds", float(torch.maximum(low - value, value - high).max()), -10.0, 1e-9
        ),
        *(
            Check.near(f"log norms spread by {spread}: {kernel}", accuracy[kernel][place], expected, margin=MARGIN)
            for kernel, each in EXPECTED.items()
            for place, (spread, expected) in enumerate(zip(SPREADS, each, strict=True))
        ),
        Check("spread 0.5: d2 less dot", accuracy["d2"][1] - accuracy["dot"][1], 0.3, 1.0, 0.46),
        Check("spread 1.0: d2 less dot", accuracy["d2"][2] - accuracy["dot"][2], 0.4, 1.0, 0.6),
    ]
    figure, (left, other, middle, right) = style.new_figure(columns=2, rows=2)
    for axes, (reading, values) in zip((left, other), shares.items(), strict=True):
        style.bars(axes, [f"{spread}" for spread in SPREADS], values)
        axes.set(xlabel="spread of log norms", ylabel=f"exemplar has {reading}", ylim=(0, 1.05))
    left.set(ylabel=f"exemplar {READINGS[0]}")
    middle.plot(distance, value, ".", color=style.COLOURS[1], markersize=4)
    ends = torch.tensor([float(distance.min()), float(distance.max())], dtype=torch.float64)
    for bound in nearest_neighbour_bounds(ends, COUNT, BETA):
        middle.plot(ends, bound, **style.THEORY)
    middle.set(xlabel="distance to the nearest pattern", ylabel="energy (d1), with its bounds")
    right.hist(own.numpy(), bins=30, color=style.COLOURS[1], edgecolor="white")
    right.axvline(2 * radius, color=style.COLOURS[2], label=f"2 r, r = {radius:.2f}")
    right.set(xlabel="distance of a pattern to its nearest other", ylabel="patterns")
    right.legend(fontsize=8)
    return Outcome(
        "Distances against dot products where norms differ", checks, figure, {"recalled": shares, "radius": radius}
    )
