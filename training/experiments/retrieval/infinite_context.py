"""What more context brings: only averaging memories keep improving (arXiv 2505.19488).

Keys are standard normal and values ``v = A k + noise``, independent at each step. For a query q, softmax attention
converges to ``E[v exp(k.q/tau)] / E[exp(k.q/tau)] = A q / tau`` (the mean under the tilted Gaussian, derived here),
with an error that falls as one over the root of the length.
"""

import math

import torch

from ait.memory.global_energy import log_log_slope
from training.experiments import style
from training.experiments.outcome import Check, Outcome

DIM, VALUE_DIM, NOISE = 8, 8, 1.0
RETENTION, RATE = 0.99, 0.1


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Follow the error of softmax attention, a moving average and a constant-step delta rule along one stream."""
    generator = torch.Generator().manual_seed(seed)
    trials, longest = (256, 1 << 16) if full else (128, 1 << 13)
    lengths = [1 << power for power in range(6, longest.bit_length())]

    query = torch.randn(trials, 1, DIM, generator=generator)
    query = query / query.norm(dim=-1, keepdim=True)  # temperature 1: |q| / tau = 1
    mapping = torch.randn(trials, VALUE_DIM, DIM, generator=generator) / math.sqrt(DIM)
    limit = (mapping @ query.mT).squeeze(-1)  # (trials, d_v)
    numerator, denominator = torch.zeros(trials, VALUE_DIM), torch.zeros(trials, 1)
    average, written = torch.zeros(trials, VALUE_DIM), torch.zeros(trials, VALUE_DIM)
    errors: dict[str, list[float]] = {"softmax attention": [], "moving average": [], "delta rule": []}
    for step in range(1, longest + 1):
        key = torch.randn(trials, DIM, generator=generator)
        noise = torch.randn(trials, VALUE_DIM, generator=generator)
        value = (mapping @ key.unsqueeze(-1)).squeeze(-1) + NOISE * noise
        weight = (key * query.squeeze(1)).sum(-1, keepdim=True).exp()
        numerator += weight * value
        denominator += weight
        # The other two see a noisy value of zero mean, again and again under the same key.
        average = RETENTION * average + (1 - RETENTION) * noise
        written = written + RATE * (noise - written)
        if step in lengths:
            deviations = (numerator / denominator - limit, average, written)
            for series, deviation in zip(errors.values(), deviations, strict=True):
                series.append(float(deviation.square().mean().sqrt()))

    settled = lengths.index(1024)
    floors = {
        name: math.sqrt(sum(x**2 for x in series[settled:]) / len(series[settled:])) for name, series in errors.items()
    }
    checks = [
        Check.near("softmax attention, slope", log_log_slope(lengths, errors["softmax attention"]), -0.5, margin=0.1),
        Check.near(
            "moving average, floor", floors["moving average"], math.sqrt((1 - RETENTION) / (1 + RETENTION)), share=0.1
        ),
        Check.near("delta rule, floor", floors["delta rule"], math.sqrt(RATE / (2 - RATE)), share=0.1),
        Check.near(
            "delta rule, slope", log_log_slope(lengths[settled:], errors["delta rule"][settled:]), 0.0, margin=0.1
        ),
    ]
    figure, (axes,) = style.new_figure()
    for look, (name, series) in zip(style.series(), errors.items(), strict=False):
        axes.loglog(lengths, series, label=name, **look)
    start = errors["softmax attention"][0]
    axes.loglog(lengths, [start * math.sqrt(lengths[0] / n) for n in lengths], label="slope −1/2", **style.THEORY)
    axes.set(xlabel="steps of context", ylabel="root mean square error")
    style.label_ticks(axes, lengths[::2])
    axes.legend(fontsize=8)
    return Outcome(
        "More context helps as far as the memory averages", checks, figure, {"lengths": lengths, "errors": errors}
    )
