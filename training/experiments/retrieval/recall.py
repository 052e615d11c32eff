"""Recall of many stored pairs by query kernel, against what the signal-to-noise ratio predicts.

Each of N pairs has a value of its own among C codes of unit length and width d_v. Noise of inverse signal-to-noise
ratio s adds normal deviations of variance s/d_v to the right score, and (1 + s)/d_v to the others (derived here, for
many small contributions):
``P(right) = E_z Phi((1 + z sqrt(s / d_v)) / sqrt((1 + s) / d_v))^(C - 1)``.
"""

from typing import Any

import torch
import torch.nn.functional as F

from ait.memory.kernels import kernel, sphere_inverse_snr
from training.experiments import style
from training.experiments.outcome import Check, Outcome

DIM, VALUE_DIM, CODES = 32, 32, 512
KERNELS: dict[str, dict[str, Any]] = {"linear": {}, "round": {}, "relu": {}, "softmax": {"temperature": 0.125}}


def predicted_accuracy(noise: float) -> float:
    """Accuracy that an inverse signal-to-noise ratio predicts, by integration over z."""
    z = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    density = torch.exp(-0.5 * z.square())
    margin = (1 + z * (noise / VALUE_DIM) ** 0.5) / ((1 + noise) / VALUE_DIM) ** 0.5
    right = torch.special.ndtr(margin) ** (CODES - 1)
    return float((density * right).sum() / density.sum())


def measured_accuracy(name: str, count: int, trials: int, seed: int) -> float:
    """Share of stored keys whose value's code is nearest to what the memory returns."""
    generator = torch.Generator().manual_seed(seed)
    keys = F.normalize(torch.randn(trials, count, DIM, generator=generator), dim=-1)
    codebook = F.normalize(torch.randn(trials, CODES, VALUE_DIM, generator=generator), dim=-1)
    codes = torch.rand(trials, CODES, generator=generator).argsort(-1)[:, :count]  # none twice
    values = codebook.gather(1, codes.unsqueeze(-1).expand(-1, -1, VALUE_DIM))
    recalled = kernel(keys, keys, name, **KERNELS[name]) @ values
    return float(((recalled @ codebook.mT).argmax(-1) == codes).float().mean())


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Compare kernels over the number of stored pairs; sharper kernels must recall more."""
    counts = [16, 32, 64, 128, 256, 512]
    trials = 64 if full else 16
    accuracy = {name: [measured_accuracy(name, count, trials, seed) for count in counts] for name in KERNELS}
    noise = {
        name: [sphere_inverse_snr(name, DIM, count, **options) for count in counts]
        for name, options in KERNELS.items()
    }
    theory = {name: [predicted_accuracy(value) for value in values] for name, values in noise.items()}
    place = counts.index(256)
    at = {name: values[place] for name, values in accuracy.items()}
    checks = [
        *(
            Check.near(f"{name}, {counts[place]} pairs", at[name], theory[name][place], margin=0.06)
            for name in ("linear", "relu", "softmax")
        ),
        Check("relu less linear", at["relu"] - at["linear"], 0.02, 1.0),
        Check("softmax less relu", at["softmax"] - at["relu"], 0.02, 1.0),
        Check("softmax, 512 pairs", accuracy["softmax"][-1], 0.97, 1.0),
    ]
    figure, (axes,) = style.new_figure()
    for look, name in zip(style.series(), KERNELS, strict=False):
        axes.semilogx(counts, accuracy[name], label=name, **look)
        axes.semilogx(counts, theory[name], **(style.THEORY | {"color": look["color"]}))
    axes.set(xlabel="stored pairs", ylabel="recalled (predicted: dashed)", ylim=(0, 1.05))
    style.label_ticks(axes, counts)
    axes.legend(fontsize=8)
    return Outcome(f"Recall over query kernels, width {DIM}", checks, figure, {"counts": counts, "accuracy": accuracy})
