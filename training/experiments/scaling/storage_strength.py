"""Strength with which gradient steps store an association, against its deterministic approximation.

One-sample steps of cross-entropy follow ``q <- q + rate / (1 + e^q / (M - 1))`` (arXiv 2310.02984, section 4), if
other associations do not interfere. With orthonormal embeddings the margin follows M/(M - 1) times that exactly
(derived here). At width 10 with random embeddings and many samples, interference shows.
"""

import torch
import torch.nn.functional as F

from ait.memory.storage import recall_scores, storage_strength, zipf
from training.experiments import style
from training.experiments.outcome import Check, Outcome

OUTPUTS, STEPS = 5, 100
RATES = (0.01, 0.1, 1.0, 10.0)


def step_strengths(rate: float, steps: int) -> torch.Tensor:
    """Measure the margin after each one-sample step with orthonormal embeddings; shape (steps + 1,)."""
    memory = torch.zeros(OUTPUTS, OUTPUTS, dtype=torch.float64)
    identity = torch.eye(OUTPUTS, dtype=torch.float64)
    key, target = identity[:1], torch.zeros(OUTPUTS, dtype=torch.float64)
    target[0] = 1.0
    margins = []
    for _ in range(steps + 1):
        scores = recall_scores(key, memory, identity)[0]
        margins.append(scores[0] - scores[1])
        memory = memory + rate * torch.outer(key[0], target - scores.softmax(-1))
    return torch.stack(margins)


def crowded_strengths(rate: float, dim: int, samples: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Store 100 inputs of Zipf's law in a narrow memory by one-sample steps.

    Returns:
        How often each input came, shape (100,), and its margin over the mean of the other outputs, same shape.
    """
    generator = torch.Generator().manual_seed(seed)
    keys = torch.randn(100, dim, generator=generator, dtype=torch.float64) / dim**0.5
    outputs = F.normalize(torch.randn(OUTPUTS, dim, generator=generator, dtype=torch.float64), dim=-1)
    labels = torch.arange(100) % OUTPUTS
    memory = torch.zeros(dim, dim, dtype=torch.float64)
    drawn = torch.multinomial(zipf(100, 2.0), samples, replacement=True, generator=generator)
    one_hot = F.one_hot(labels, OUTPUTS).double()
    for x in drawn.tolist():
        scores = recall_scores(keys[x : x + 1], memory, outputs)[0]
        memory = memory + rate * torch.outer(keys[x], (one_hot[x] - scores.softmax(-1)) @ outputs)
    scores = recall_scores(keys, memory, outputs)
    right = scores.gather(1, labels[:, None]).squeeze(1)
    return drawn.bincount(minlength=100), right - (scores.sum(1) - right) / (OUTPUTS - 1)


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Compare steps with the curves, without and with interference."""
    checks, curves = [], {}
    for rate in RATES:
        measured = step_strengths(rate, STEPS)
        exact = storage_strength(rate, OUTPUTS, STEPS, centred=True)
        paper = storage_strength(rate, OUTPUTS, STEPS)
        error = float((measured - exact).abs().max())
        checks.append(Check(f"rate {rate}, distance from the exact curve", error, 0.0, 1e-9, 0.0))
        excess = float((measured[1:] / paper[1:]).max())
        checks.append(
            Check(f"rate {rate}, margin over the paper's curve", excess, 1.0, OUTPUTS / (OUTPUTS - 1) + 1e-9)
        )
        curves[rate] = (measured, paper)
    samples = 10_000 if full else 1000
    counts, margins = crowded_strengths(1.0, 10, samples, seed)
    wide_counts, wide = crowded_strengths(1.0, 1000, samples, seed)
    predicted = storage_strength(1.0, OUTPUTS, int(wide_counts.max()), centred=True)[wide_counts]
    often = wide_counts >= 5
    checks.append(
        Check.near("width 1000: margin over the curve", float((wide / predicted)[often].mean()), 1.0, margin=0.2)
    )
    figure, (left, right) = style.new_figure(columns=2)
    for look, (rate, (measured, paper)) in zip(style.series(), curves.items(), strict=False):
        left.plot(measured, label=f"rate {rate}", color=look["color"], linestyle=look["linestyle"])
        left.plot(paper, **(style.THEORY | {"linestyle": ":"}))
    left.set(xlabel="times seen", ylabel="margin (the paper's curve dotted)")
    left.legend(fontsize=8)
    looks = style.series()
    for name, times, found in (("width 10", counts, margins), ("width 1000", wide_counts, wide)):
        seen = times > 0
        right.semilogx(times[seen], found[seen], **(next(looks) | {"linestyle": ""}), markersize=4, label=name)
    longest = int(counts.max())
    right.plot(range(1, longest + 1), storage_strength(1.0, OUTPUTS, longest, centred=True)[1:], **style.THEORY)
    right.set(xlabel="times seen", ylabel="margin after the run", title="rate 1, 100 inputs")
    right.legend(fontsize=8)
    figures = {"rates": list(RATES), "margins": {str(rate): values[0].tolist() for rate, values in curves.items()}}
    return Outcome("Strength of stored associations against a deterministic curve", checks, figure, figures)
