"""Error against width for three ways to store: everything alike, by frequency, and the frequent alone.

``q = p^rho`` gives ``d^(-(alpha - 1) / (2 alpha rho))``, the threshold ``q = 1[x < d/8]`` gives ``d^(-(alpha - 1))``,
the best there is (arXiv 2310.02984, section 3). Storing all alike fails: the rare drown the frequent.
"""

import torch

from ait.memory.global_energy import log_log_slope
from ait.memory.storage import storage_weights, width_exponent, zipf
from training.experiments import style
from training.experiments.outcome import Check, Outcome
from training.experiments.scaling.setting import embeddings, error

INPUTS = 1000
EXPONENTS = (1.5, 2.0, 2.5)
SCHEMES = ("q = 1", "q = p", "q = √p", "threshold")


def weights(scheme: str, probabilities: torch.Tensor, dim: int) -> torch.Tensor:
    """Look up q for one of ``SCHEMES``; shape (N,)."""
    if scheme == "threshold":
        return storage_weights(probabilities, "threshold", kept=dim // 8)
    return storage_weights(probabilities, power={"q = 1": 0.0, "q = p": 1.0, "q = √p": 0.5}[scheme])


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Measure errors over widths and fit the slopes, with the paper's sizes."""
    generator = torch.Generator().manual_seed(seed)
    widths = [16, 32, 64, 128, 256, 512, 1024]
    trials = 40 if full else 12
    errors = {alpha: {scheme: [0.0] * len(widths) for scheme in SCHEMES} for alpha in EXPONENTS}
    for place, dim in enumerate(widths):
        for _ in range(trials // 4):
            keys, outputs = embeddings(4, INPUTS, dim, generator)
            for alpha in EXPONENTS:
                probabilities = zipf(INPUTS, alpha)
                for scheme in SCHEMES:
                    total = error(keys, outputs, weights(scheme, probabilities, dim), probabilities)
                    errors[alpha][scheme][place] += total / (trials // 4)
    keys, outputs = embeddings(12, INPUTS, 100, generator)
    at_hundred = {s: error(keys, outputs, weights(s, zipf(INPUTS, 2.0), 100), zipf(INPUTS, 2.0)) for s in SCHEMES}
    checks = []
    slopes: dict[str, dict[str, float]] = {}
    for alpha in EXPONENTS:
        found = {scheme: log_log_slope(widths, errors[alpha][scheme]) for scheme in SCHEMES[1:]}
        slopes[str(alpha)] = found
        law = width_exponent(alpha, "threshold")
        checks.append(Check.near(f"alpha {alpha}, slope of the threshold", found["threshold"], law, margin=0.1))
        law = width_exponent(alpha)
        checks.append(Check(f"alpha {alpha}, slope of q = p", found["q = p"], law - 0.1, law + 0.03, law))
    checks += [
        Check("width 100, q = p less threshold", at_hundred["q = p"] - at_hundred["threshold"], 0.0, 1.0),
        Check("width 100, q = 1 less q = p", at_hundred["q = 1"] - at_hundred["q = p"], 0.0, 1.0),
    ]
    figure, panels = style.new_figure(columns=3)
    for axes, alpha in zip(panels, EXPONENTS, strict=True):
        for look, (scheme, values) in zip(style.series(), errors[alpha].items(), strict=False):
            axes.loglog(widths, values, label=scheme, **look)
            if scheme in ("q = p", "threshold"):
                law = width_exponent(alpha, "threshold" if scheme == "threshold" else "power")
                axes.loglog(widths, [values[3] * (dim / widths[3]) ** law for dim in widths], **style.THEORY)
        axes.set(xlabel="width d", ylabel="error", title=f"alpha = {alpha}")
        style.label_ticks(axes, widths[::2])
    panels[0].legend(fontsize=8, title="laws dashed", title_fontsize=8)
    figures = {
        "widths": widths,
        "errors": {str(alpha): values for alpha, values in errors.items()},
        "slopes": slopes,
        "width 100": at_hundred,
    }
    return Outcome(f"Error of outer-product memories of {INPUTS} inputs against width", checks, figure, figures)
