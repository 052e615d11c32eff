"""How many associations linear maps and networks hold, by bisection (arXiv 2412.06538, section 3).

``N log N`` grows with the number of parameters; a learned linear map holds several times what a sum of outer products
does, and bits a parameter do not exceed a small constant.
"""

import math

from ait.memory.probe import association_bits, capacity_probe
from training.experiments import style
from training.experiments.outcome import Check, Outcome

# A linear map goes on finding room: c is 0.7 to 0.8 after 300 steps, 0.98 after 4,000. The known range is of few.
LINEAR_STEPS = 500


def _near(theory: float) -> tuple[float, float, float, tuple[float, float]]:
    """Allow a fifth of a figure that theory gives to two digits, and tell whether a tenth is kept."""
    return 0.8 * theory, 1.2 * theory, theory, (0.9 * theory, 1.1 * theory)


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Bisect for each width; N log N over the parameters must lie in the known ranges."""
    linear_widths = [8, 16, 32, 45] if full else [8, 16, 32]
    outer_widths = [32, 64, 128, 256] if full else [32, 64, 128]
    # (d, m); the constant holds for m d of 256 and more
    networks = [(16, 16), (16, 32), (16, 64), (16, 128), (23, 46), (32, 32)] if full else [(16, 16), (16, 32)]
    steps = 16_000 if full else 3000
    linear = {d: capacity_probe("linear", d, steps=LINEAR_STEPS, seed=seed) for d in linear_widths}
    outer = {d: capacity_probe("outer_product", d, seed=seed) for d in outer_widths}
    mlp = {(d, m): capacity_probe("mlp", d, m, steps=steps, seed=seed) for d, m in networks}
    fixed = capacity_probe("mlp", 16, 32, outputs=32, steps=steps, seed=seed) if full else None

    def ratio(count: int, parameters: int) -> float:
        return count * math.log(count) / parameters

    checks = [
        *(
            Check(f"linear, width {d}: N log N / d²", ratio(count, d * d), 0.65, 0.95)
            for d, count in linear.items()
            if d >= 16
        ),
        Check("width 32: linear over outer product", linear[32] / outer[32], 3.0, math.inf),
        *(
            Check(f"network {d} x {m}: N log N / (m d)", ratio(count, m * d), 2.5, 3.3)
            for (d, m), count in mlp.items()
        ),
        Check("bits a parameter, linear of width 32", association_bits(linear[32]) / 32**2, *_near(1.1)),
        Check("bits a parameter, network 16 x 32", association_bits(mlp[16, 32]) / (2 * 16 * 32), *_near(2.1)),
    ]
    figure, (left, right) = style.new_figure(columns=2)
    curves = {
        "outer product": ([d * d for d in outer], list(outer.values())),
        "linear": ([d * d for d in linear], list(linear.values())),
        "network": ([m * d for d, m in mlp], list(mlp.values())),
    }
    for look, (name, (parameters, counts)) in zip(style.series(), curves.items(), strict=False):
        left.loglog(parameters, [ratio(count, 1) for count in counts], label=name, **look)
        right.semilogx(parameters, [ratio(n, p) for n, p in zip(counts, parameters, strict=True)], **look)
    left.set(xlabel="d², or m d of the network", ylabel="N log N")
    left.legend(fontsize=8)
    right.set(xlabel="d², or m d of the network", ylabel="N log N over it")
    for constant in (0.77, 2.9):
        right.axhline(constant, **style.THEORY)
    figures = {
        "linear": {str(d): n for d, n in linear.items()},
        "outer product": {str(d): n for d, n in outer.items()},
        "network": {f"{d} x {m}": n for (d, m), n in mlp.items()},
        "network 16 x 32 of 32 outputs": fixed,
    }
    return Outcome("Associations held to 99 %", checks, figure, figures)
