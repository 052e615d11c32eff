"""Exemplar recall by distance and by dot product, and the nearest-neighbour view of energies (arXiv 2405.08707).

How much noise a query carries where norms differ is a choice. Noise of one length, whatever the norms, leaves
distances right at any spread; noise in proportion to the root mean square norm swallows the shortest patterns.
"""

import torch
import torch.nn.functional as F

from ait.memory.global_energy import nearest_neighbour_bounds, nearest_pattern, separation_radius
from ait.memory.hopfield import energy, recall_weights
from training.experiments import style
from training.experiments.outcome import Check, Outcome

COUNT, DIM, NOISE, BETA = 256, 32, 0.2, 4.0
SPREADS = (0.0, 0.5, 1.0)
KERNELS = ("dot", "d2", "d1")
NOISES = ("fixed", "rms")


def exemplars(spread: float, generator: torch.Generator) -> torch.Tensor:
    """Draw patterns in random directions, with norms exp(spread * normal); shape (COUNT, DIM)."""
    directions = F.normalize(torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64), dim=-1)
    return directions * (spread * torch.randn(COUNT, 1, generator=generator, dtype=torch.float64)).exp()


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Measure recall of noisy exemplars whose norms differ more and more, and how near energies come to distances."""
    generator = torch.Generator().manual_seed(seed)
    trials = 40 if full else 8
    by_noise: dict[str, dict[str, list[float]]] = {
        kind: {kernel: [0.0] * len(SPREADS) for kernel in KERNELS} for kind in NOISES
    }
    for place, spread in enumerate(SPREADS):
        for _ in range(trials):
            patterns = exemplars(spread, generator)
            noise = NOISE * torch.randn(COUNT, DIM, generator=generator, dtype=torch.float64) / DIM**0.5
            for kind in NOISES:
                scale = 1.0 if kind == "fixed" else patterns.norm(dim=-1).square().mean().sqrt()
                for kernel in KERNELS:
                    recalled = recall_weights(patterns + scale * noise, patterns, BETA, kernel).argmax(-1)
                    hits = float((recalled == torch.arange(COUNT)).double().mean())
                    by_noise[kind][kernel][place] += hits / trials
    accuracy, relative = by_noise["fixed"], by_noise["rms"]

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
        Check.near("norms spread by 0.5, dot", accuracy["dot"][1], 0.54, margin=0.06),
        Check.near("norms spread by 1.0, dot", accuracy["dot"][2], 0.22, margin=0.08),
        Check("norms spread by 1.0, noise by rms norm, d2", relative["d2"][2], 0.7, 1.0),
    ]
    figure, (left, other, middle, right) = style.new_figure(columns=2, rows=2)
    for axes, (kind, shares) in zip((left, other), by_noise.items(), strict=True):
        style.bars(axes, [f"{spread}" for spread in SPREADS], shares)
        axes.set(xlabel=f"spread of log norms, noise {kind}", ylabel="exemplar recalled", ylim=(0, 1.05))
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
        "Distances against dot products where norms differ", checks, figure, {"accuracy": by_noise, "radius": radius}
    )
