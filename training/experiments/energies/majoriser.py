"""The majoriser of the energy over layers (arXiv 2405.08707): an upper bound that touches at its reference point."""

import torch

from ait.memory.global_energy import global_energy, majoriser, responsibilities
from ait.memory.hopfield import energy
from training.experiments import style
from training.experiments.outcome import Check, Outcome

DIM, LAYERS, PATTERNS, BETA = 8, 4, 16, 1.0
STEPS = 30


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Bound the global energy of random points, then minimise it by minimising bound after bound."""
    generator = torch.Generator().manual_seed(seed)
    points = 20_000 if full else 4_000
    layers = 2 * torch.randn(LAYERS, PATTERNS, DIM, generator=generator, dtype=torch.float64)
    x, x0 = 3 * torch.randn(2, points, DIM, generator=generator, dtype=torch.float64)

    def energies(queries: torch.Tensor) -> torch.Tensor:
        return torch.stack([energy(queries, patterns, BETA, "d2") for patterns in layers], dim=-1)

    gap = majoriser(energies(x), energies(x0), BETA) - global_energy(energies(x), BETA)
    touch = majoriser(energies(x0), energies(x0), BETA) - global_energy(energies(x0), BETA)

    # Each layer's d2 energy is bounded by a quadratic around its own retrieval; their weighted sum is minimised by the
    # weighted mean of the layers' retrievals.
    descent = [x0[:200]]
    for _ in range(STEPS):
        here = descent[-1]
        weights = responsibilities(energies(here), BETA)  # (points, L)
        recalled = torch.stack(
            [torch.softmax(-0.5 * BETA * torch.cdist(here, patterns).square(), -1) @ patterns for patterns in layers],
            -1,
        )
        descent.append((recalled * weights.unsqueeze(-2)).sum(-1))
    course = torch.stack([global_energy(energies(here), BETA) for here in descent])  # (STEPS + 1, points)
    checks = [
        Check("smallest gap of the bound", float(gap.min()), -1e-9, float("inf"), 0.0),
        Check("largest gap at the reference", float(touch.abs().max()), 0.0, 1e-9, 0.0),
        Check(
            "largest rise of the global energy in a step", float(course.diff(dim=0).max()), -float("inf"), 1e-9, 0.0
        ),
    ]

    figure, (left, right) = style.new_figure(columns=2)
    line = torch.linspace(-4, 4, 201, dtype=torch.float64)
    on_line = line[:, None] * torch.nn.functional.normalize(layers[0, 0] - layers[1, 0], dim=0) + layers[:2, 0].mean(0)
    left.plot(line, global_energy(energies(on_line), BETA), color=style.COLOURS[0], label="global energy")
    for look, place in zip(style.series(), (50, 150), strict=False):
        bound = majoriser(energies(on_line), energies(on_line[place : place + 1]), BETA)
        colour = style.COLOURS[1] if place == 50 else style.COLOURS[2]
        left.plot(line, bound, color=colour, linestyle="--", label=f"bound that touches at {float(line[place]):.0f}")
        left.plot(line[place], bound[place], color=colour, marker=look["marker"])
    left.set(xlabel="place on a line through two patterns", ylabel="energy")
    left.legend(fontsize=8)
    quantiles = course.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=course.dtype), dim=1)
    right.fill_between(range(STEPS + 1), quantiles[0], quantiles[2], color=style.COLOURS[1], alpha=0.25)
    right.plot(quantiles[1], color=style.COLOURS[1])
    right.set(xlabel="step", ylabel="global energy (median, 80 %)")
    return Outcome(
        "The global energy and its majoriser", checks, figure, {"mean_gap": float(gap.mean()), "points": points}
    )
