"""Error against samples and width: the map over T x d, and the law ``T^(-1 + 1/alpha)`` of an unlimited memory.

Associations are stored by how often they were seen. At any width, the error stops falling with samples once
interference decides it; the threshold scheme moves that point out (arXiv 2310.02984, section 3).
"""

import torch

from ait.memory.global_energy import log_log_slope
from ait.memory.storage import recall_error, sample_exponent, storage_weights, unseen_error, zipf
from training.experiments import style
from training.experiments.outcome import Check, Outcome
from training.experiments.scaling.setting import OUTPUTS, embeddings, error, targets

INPUTS, ALPHA = 1000, 2.0
# Scheme of each map: inputs, exponent of Zipf's law, power of the counts, or the share of the width that is kept.
MAPS = {
    "counts, alpha 2": (INPUTS, ALPHA, 1.0, None),
    "threshold d/12, alpha 2": (INPUTS, ALPHA, None, 12),
    "all alike, N = 100, alpha 0.5": (100, 0.5, 0.0, None),
}


def count_samples(probabilities: torch.Tensor, samples: int, trials: int, generator: torch.Generator) -> torch.Tensor:
    """Draw inputs and count them; shape (trials, N)."""
    drawn = torch.multinomial(probabilities.expand(trials, -1), samples, replacement=True, generator=generator)
    return torch.zeros(trials, len(probabilities), dtype=torch.float64).scatter_add_(
        1, drawn, torch.ones(drawn.shape, dtype=torch.float64)
    )


def unlimited_error(probabilities: torch.Tensor, samples: int, trials: int, generator: torch.Generator) -> float:
    """Measure the error of a memory without interference: orthonormal embeddings, as wide as there are inputs."""
    labels = targets(len(probabilities))
    counts = count_samples(probabilities, samples, trials, generator)
    scores = counts.unsqueeze(-1) * torch.nn.functional.one_hot(labels, OUTPUTS)  # e and u orthonormal
    return float(recall_error(scores, labels, probabilities).mean())


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Fit the slope in T without interference, and draw the maps."""
    generator = torch.Generator().manual_seed(seed)
    trials = 40 if full else 10
    probabilities = zipf(INPUTS, ALPHA)
    line = [30, 100, 300, 1000, 3000, 10000]
    unlimited = [unlimited_error(probabilities, samples, trials, generator) for samples in line]
    expected = [float(unseen_error(probabilities, samples, OUTPUTS)) for samples in line]
    slope = log_log_slope(line, unlimited)
    samples, widths = [10, 30, 100, 300, 1000, 3000, 10000], [8, 16, 32, 64, 128, 256, 512]
    grids = {}
    for name, (inputs, alpha, power, share) in MAPS.items():
        chances = zipf(inputs, alpha)
        grid = torch.zeros(len(samples), len(widths))
        for column, dim in enumerate(widths):
            keys, outputs = embeddings(trials // 2, inputs, dim, generator)
            for row, drawn in enumerate(samples):
                counts = count_samples(chances, drawn, trials // 2, generator)
                if share is None:
                    assert power is not None
                    stored = storage_weights(counts, power=power)
                else:
                    stored = storage_weights(counts, "threshold", kept=max(dim // share, 1))
                grid[row, column] = error(keys, outputs, stored, chances)
        grids[name] = grid
    worst = max(abs(found - law) / law for found, law in zip(unlimited, expected, strict=True))
    counts, threshold = grids["counts, alpha 2"], grids["threshold d/12, alpha 2"]
    checks = [
        Check.near("slope in samples, unlimited width", slope, sample_exponent(ALPHA), margin=0.08),
        Check("share by which errors miss their expectation, worst", worst, 0.0, 0.25, 0.0),
        Check("widest, most samples: counts less threshold", float(counts[-1, -1] - threshold[-1, -1]), 0.0, 1.0),
    ]
    figure, panels = style.new_figure(columns=2, rows=2)
    panels[0].loglog(line, unlimited, label="measured", **next(style.series()))
    panels[0].loglog(line, expected, label="expected", **style.THEORY)
    panels[0].set(xlabel="samples T", ylabel="error", title=f"unlimited width, slope {slope:.2f}")
    panels[0].legend(fontsize=8)
    for axes, (name, grid) in zip(panels[1:], grids.items(), strict=True):
        drawn_map = axes.pcolormesh(
            widths, samples, grid.clamp_min(1e-4).log10(), cmap=style.HEATMAP, shading="nearest"
        )
        axes.set(xscale="log", yscale="log", xlabel="width d", ylabel="samples T", title=name)
        axes.grid(False)
        figure.colorbar(drawn_map, ax=axes, label="log10 error")
    figures = {
        "line": {"samples": line, "measured": unlimited, "expected": expected, "slope": slope},
        "maps": {"samples": samples, "widths": widths, **{name: grid.tolist() for name, grid in grids.items()}},
    }
    return Outcome("Error of outer-product memories against samples and width", checks, figure, figures)
