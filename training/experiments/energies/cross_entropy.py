"""Cross-entropy of well-separated patterns: closed form against sampling (arXiv 2405.08707)."""

import math

import torch

from ait.memory.global_energy import separated_cross_entropy
from training.experiments import style
from training.experiments.outcome import Check, Outcome

CASES = [(2, 1.0, 10), (4, 2.0, 20), (8, 3.0, 50)]


def sampled_cross_entropy(dim: int, radius: float, count: int, samples: int, generator: torch.Generator) -> float:
    """Estimate the cross-entropy of the patterns under exp(-distance) on disjoint balls, by sampling one ball.

    Args:
        dim: Dimensions.
        radius: Radius of each ball.
        count: Number of balls.
        samples: Points drawn uniformly from the ball.
        generator: Randomness.

    Returns:
        Log of the normaliser, which is the cross-entropy of data that lie on their patterns.
    """
    distance = radius * torch.rand(samples, generator=generator, dtype=torch.float64) ** (1 / dim)
    log_volume = dim / 2 * math.log(math.pi) + dim * math.log(radius) - math.lgamma(dim / 2 + 1)
    return math.log(count) + log_volume + math.log(float(torch.exp(-distance).mean()))


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Compare closed form and sampling; accept 0.01 nats."""
    generator = torch.Generator().manual_seed(seed)
    samples = 4_000_000 if full else 400_000
    checks = [
        Check.near(
            f"n={dim}, r={radius}, D={count}",
            sampled_cross_entropy(dim, radius, count, samples, generator),
            separated_cross_entropy(dim, radius, count),
            margin=0.01,
        )
        for dim, radius, count in CASES
    ]
    figure, (axes,) = style.new_figure()
    radii = [0.25 * step for step in range(1, 33)]
    for look, (dim, _, count) in zip(style.series(), CASES, strict=False):
        curve = [separated_cross_entropy(dim, radius, count) for radius in radii]
        axes.plot(radii, curve, color=look["color"], linestyle=look["linestyle"], label=f"n = {dim}, D = {count}")
    for look, case, check in zip(style.series(), CASES, checks, strict=False):
        axes.plot(case[1], check.measured, color=look["color"], marker=look["marker"])
    axes.set(xlabel="radius", ylabel="cross-entropy, nats (marks: sampled)")
    axes.legend(fontsize=8)
    return Outcome("Cross-entropy of well-separated patterns", checks, figure, {"samples": samples})
