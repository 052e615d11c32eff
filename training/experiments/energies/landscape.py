"""Energy landscapes of the three retrieval kernels over three patterns in the plane (arXiv 2405.08707)."""

import math

import torch

from ait.memory.global_energy import nearest_neighbour_bounds, nearest_pattern
from ait.memory.hopfield import KERNELS, energy, retrieve
from training.experiments import style
from training.experiments.outcome import Check, Outcome

PATTERNS = torch.tensor([[-2.0, -0.5], [0.2, -0.3], [1.5, 1.5]], dtype=torch.float64)
STEPS = 12


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Draw the landscapes with retrieval paths; no step may raise its energy."""
    size = 241 if full else 121
    side = torch.linspace(-3.2, 3.2, size, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)  # (size^2, 2), x slowest
    generator = torch.Generator().manual_seed(seed)
    starts = 6 * torch.rand(400, 2, generator=generator, dtype=torch.float64) - 3
    checks = []
    figure, panels = style.new_figure(columns=3)
    for axes, kernel in zip(panels, KERNELS, strict=True):
        paths = [starts]
        for _ in range(STEPS):
            paths.append(retrieve(paths[-1], PATTERNS, kernel=kernel))
        path = torch.stack(paths)  # (STEPS + 1, starts, 2)
        rise = energy(path, PATTERNS, kernel=kernel).diff(dim=0).max()
        # A distance below 1e-6 counts as 1e-6 in `d1`, whose step would divide by zero on a pattern.
        rounding = 1e-6 if kernel == "d1" else 1e-9
        checks.append(Check(f"{kernel}, largest rise of energy in a step", float(rise), -math.inf, rounding, 0.0))
        height = energy(grid, PATTERNS, kernel=kernel)
        if kernel != "dot":
            low, high = nearest_neighbour_bounds(nearest_pattern(grid, PATTERNS)[0], len(PATTERNS), 1.0, kernel)
            excess = torch.maximum(low - height, height - high).max()
            checks.append(Check(f"{kernel}, excess over the bounds", float(excess), -math.inf, rounding, 0.0))
        axes.contourf(side, side, height.view(size, size).mT, levels=24, cmap=style.HEATMAP)
        axes.plot(*path[:, :12].unbind(-1), color="white", linewidth=0.8)
        axes.plot(*PATTERNS.mT, "o", color=style.COLOURS[2], markeredgecolor="white")
        axes.set(title=f"{kernel}: {float(height.min()):.2f} to {float(height.max()):.2f}", xlabel="x", ylabel="y")
        axes.set_aspect("equal")
        axes.grid(False)
    return Outcome("Energy of three patterns, and retrieval paths", checks, figure, {"steps": STEPS, "starts": 400})
