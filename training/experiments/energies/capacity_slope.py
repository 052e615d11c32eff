"""Parameters that a memory needs for D patterns: N = O(D^2) for matrix memories (arXiv 2405.08707).

A matrix of width n has N = n^2 parameters and holds D_c patterns, in proportion to n: the slope of log N against
log D_c is 2. Fidelity is the criterion: SNR of at least 1 for the linear memory, 99 % of bits stable for the Hopfield
network, where theory gives D_c/n = 1 / z^2 with z the normal quantile of 0.99 (derived here for independent patterns).
"""

from collections.abc import Callable

import torch

from ait.memory.global_energy import log_log_slope
from ait.memory.kernels import inverse_snr, kernel
from training.experiments import style
from training.experiments.outcome import Check, Outcome

Z = 2.3263  # of the normal distribution at 0.99


def linear_quality(width: int, count: int, trials: int, generator: torch.Generator) -> float:
    """SNR with which a linear memory of Gaussian keys returns `count` stored values, less 1."""
    keys = torch.randn(trials, count, width, generator=generator)
    values = torch.randn(trials, count, width, generator=generator)
    return 1 / float(inverse_snr(values, kernel(keys, keys, "linear")).mean()) - 1


def hopfield_quality(width: int, count: int, trials: int, generator: torch.Generator) -> float:
    """Share of bits of `count` random patterns that a binary Hopfield network keeps, less 0.99."""
    patterns = torch.randint(2, (trials, count, width), generator=generator).float() * 2 - 1
    weights = patterns.mT @ patterns  # (trials, n, n)
    weights.diagonal(dim1=-2, dim2=-1).zero_()
    return float((patterns * (patterns @ weights) > 0).float().mean()) - 0.99


def capacity(
    quality: Callable[[int, int, int, torch.Generator], float], width: int, high: int, trials: int, seed: int
) -> int:
    """Find the largest number of patterns of non-negative quality, by bisection; at least 2, at most `high`."""
    low = 2
    while high - low > 1:
        middle = (low + high) // 2
        # Measured anew with the same seed: the answer depends on the width alone, not on the path of the search.
        if quality(width, middle, trials, torch.Generator().manual_seed(seed)) >= 0:
            low = middle
        else:
            high = middle
    return low


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Find both capacities over widths; accept a slope of 2 within 0.15."""
    widths = [64, 128, 256, 512, 1024] if full else [64, 128, 256, 512]
    held: dict[str, list[int]] = {"linear, SNR of 1": [], "Hopfield, 99 % of bits": []}
    for width in widths:
        trials = max(1, 4096 // width)
        held["linear, SNR of 1"].append(capacity(linear_quality, width, 2 * width, trials, seed))
        held["Hopfield, 99 % of bits"].append(capacity(hopfield_quality, width, width // 2, trials, seed))
    parameters = [width**2 for width in widths]
    largest = {name: counts[-1] / widths[-1] for name, counts in held.items()}
    checks = [
        *(
            Check.near(f"{name}, slope", log_log_slope(counts, parameters), 2.0, margin=0.15)
            for name, counts in held.items()
        ),
        Check.near("linear, D/n at the largest width", largest["linear, SNR of 1"], 1.0, margin=0.1),
        Check.near("Hopfield, D/n at the largest width", largest["Hopfield, 99 % of bits"], Z**-2, margin=0.03),
    ]
    figure, (axes,) = style.new_figure()
    for look, (name, counts) in zip(style.series(), held.items(), strict=False):
        axes.loglog(counts, parameters, label=name, **look)
        axes.loglog(counts, [parameters[-1] * (count / counts[-1]) ** 2 for count in counts], **style.THEORY)
    axes.set(xlabel="patterns held D", ylabel="parameters N")
    style.label_ticks(axes, held["linear, SNR of 1"] + held["Hopfield, 99 % of bits"][:2])
    axes.legend(fontsize=8, title="slope 2 dashed", title_fontsize=8)
    return Outcome("Parameters against patterns held", checks, figure, {"widths": widths, "held": held})
