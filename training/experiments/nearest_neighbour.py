"""Exemplar recall by distance and by dot product, and the nearest-neighbour view of energies (arXiv 2405.08707)."""

import torch
import torch.nn.functional as F

from ait.memory.global_energy import nearest_neighbour_bounds, nearest_pattern, separation_radius
from ait.memory.hopfield import energy, recall_weights
from training.experiments import style
from training.experiments.outcome import Check, Outcome

COUNT, DIM, NOISE, BETA = 256, 32, 0.2, 4.0
SPREADS = (0.0, 0.5, 1.0)
KERNELS = ("dot", "d2", "d1")


def exemplars(spread: float, generator: torch.Generator) -> torch.Tensor:
    """Draw patterns in random directions, with norms exp(spread * normal); shape (COUNT, DIM)."""
    directions = F.normalize(torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64), dim=-1)
    return directions * (spread * torch.randn(COUNT, 1, generator=generator, dtype=torch.float64)).exp()


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Measure recall of noisy exemplars whose norms differ more and more, and how near energies come to distances."""
    generator = torch.Generator().manual_seed(seed)
    trials = 40 if full else 8
    accuracy: dict[str, list[float]] = {kernel: [] for kernel in KERNELS}
    for spread in SPREADS:
        hits = dict.fromkeys(KERNELS, 0.0)
        for _ in range(trials):
            patterns = exemplars(spread, generator)
            noise = torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64)
            # Noise of the given length, whatever the pattern's.
            queries = patterns + NOISE * noise / DIM**0.5
            for kernel in KERNELS:
                recalled = recall_weights(queries, patterns, BETA, kernel).argmax(-1)
                hits[kernel] += float((recalled == torch.arange(COUNT)).double().mean()) / trials
        for kernel in KERNELS:
            accuracy[kernel].append(hits[kernel])

    patterns = exemplars(0.5, generator)
    queries = patterns + 0.5 * torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64) / DIM**0.5
    distance, _ = nearest_pattern(queries, patterns)
    own, _ = nearest_pattern(patterns, patterns, exclude_self=True)
    value = energy(queries, patterns, BETA, "d1")
    low, high = nearest_neighbour_bounds(distance, COUNT, BETA)
    radius = float(separation_radius(patterns))
    checks = [
        Check(
            "excess of the energy over its bounds", float(torch.maximum(low - value, value - high).max()), -10.0, 1e-9
        ),
        Check("equal norms, worst kernel", min(values[0] for values in accuracy.values()), 0.98, 1.0),
        Check("norms spread by 0.5, d2 less dot", accuracy["d2"][1] - accuracy["dot"][1], 0.2, 1.0),
        Check("norms spread by 1.0, d2 less dot", accuracy["d2"][2] - accuracy["dot"][2], 0.3, 1.0),
    ]
    figure, (left, middle, right) = style.new_figure(columns=3)
    style.bars(left, [f"{spread}" for spread in SPREADS], accuracy)
    left.set(xlabel="standard deviation of log norms", ylabel="exemplar recalled", ylim=(0, 1.05))
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
        "Distances against dot products where norms differ", checks, figure, {"accuracy": accuracy, "radius": radius}
    )
