"""Retrieval signal-to-noise ratio of each kernel against its closed form (arXiv 2505.19488)."""

from typing import Any

import torch
import torch.nn.functional as F

from ait.memory.kernels import (
    gaussian_inverse_snr,
    gaussian_mean_inverse_snr,
    inverse_snr,
    kernel,
    sphere_inverse_snr,
)
from training.experiments import style
from training.experiments.outcome import Check, Outcome

COUNT, VALUE_DIM = 512, 64
CASES: list[tuple[str, int, dict[str, Any]]] = [
    ("linear", 16, {}),
    ("linear", 64, {}),
    ("linear", 256, {}),
    ("relu", 32, {}),
    ("polynomial", 32, {"degree": 2}),
    ("polynomial", 32, {"degree": 3}),
    ("exp", 32, {"temperature": 0.25}),
    ("exp", 32, {"temperature": 0.125}),
]


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Measure 1/SNR over random keys and values; accept 5 % off the closed form."""
    generator = torch.Generator().manual_seed(seed)
    trials = 128 if full else 24
    checks = []
    for name, dim, options in CASES:
        ratios = torch.zeros(3, dtype=torch.float64)
        for _ in range(trials):
            keys = torch.randn(COUNT, dim, generator=generator)
            values = torch.randn(COUNT, VALUE_DIM, generator=generator)
            sphere = F.normalize(keys, dim=-1)
            ratios[0] += inverse_snr(values, kernel(sphere, sphere, name, **options))
            if name == "linear":
                ratios[1] += inverse_snr(values, kernel(keys, keys, name))
                ratios[2] += inverse_snr(values, kernel(keys, keys, name), mean_of_ratios=True)
        ratios /= trials
        setting = ", ".join([f"d={dim}", *(f"{key}={value}" for key, value in options.items())])
        theory = sphere_inverse_snr(name, dim, COUNT, **options)
        checks.append(Check.near(f"{name}, {setting}, sphere", float(ratios[0]), theory, share=0.05))
        if name == "linear":
            theory = gaussian_inverse_snr(name, dim, COUNT)
            checks.append(Check.near(f"{name}, {setting}, Gaussian", float(ratios[1]), theory, share=0.05))
            theory = gaussian_mean_inverse_snr(dim, COUNT, VALUE_DIM)
            checks.append(
                Check.near(f"{name}, {setting}, Gaussian, mean of ratios", float(ratios[2]), theory, share=0.05)
            )

    figure, (axes,) = style.new_figure()
    kinds = style.series()
    theory_values = [check.theory or 0.0 for check in checks]
    axes.loglog([min(theory_values), max(theory_values)], [min(theory_values), max(theory_values)], **style.THEORY)
    for name in dict.fromkeys(case[0] for case in CASES):
        own = [check for check in checks if check.name.startswith(name)]
        look = next(kinds) | {"linestyle": "none"}
        axes.loglog([check.theory or 0.0 for check in own], [check.measured for check in own], label=name, **look)
    axes.set(xlabel="1 / SNR, closed form", ylabel="1 / SNR, measured")
    axes.legend(fontsize=8)
    return Outcome(f"Retrieval noise of {COUNT} stored pairs by kernel", checks, figure, {"trials": trials})
