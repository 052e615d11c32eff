"""Facts held against parameters (arXiv 2412.06538, section 4).

Facts are recalled to 99 % by a model as large as they are many: with d/8 heads of width 8 and a network of width 2 d,
their number grows in proportion to the parameters, at about 0.15 facts, or 0.45 bits, a parameter for D = 8 once
training is long. The short run ends unevenly, with about a fifth of that. The information bound S R log2 D is far:
parameters of 32 bits could hold more.
"""

from ait.memory.global_energy import log_log_slope
from ait.memory.probe import bisect, information_bound
from training.experiments import style
from training.experiments.facts.task import FactModel, FactTask, train_model
from training.experiments.outcome import Check, Outcome

ANSWERS, HEAD_DIM = 8, 8
# S against the size that is searched: S = R, R = sqrt(S) and D = S.
SHAPES = {
    "S = R": lambda size: FactTask(size, size, ANSWERS, 2 * size),
    "R = √S": lambda size: FactTask(size, max(round(size**0.5), 1), ANSWERS, size + max(round(size**0.5), 1)),
    "D = S": lambda size: FactTask(size, size, size, 2 * size),
}


def held_facts(shape: str, dim: int, hidden: int, steps: int, seed: int, guess: int) -> tuple[int, int, float]:
    """Find by bisection the largest task that a model of width d, with d/8 heads, learns to 99 %.

    Returns:
        Number of facts, number of trained parameters, bits of the facts.
    """

    def held(size: int) -> bool:
        return train_model(SHAPES[shape](size), dim, dim // HEAD_DIM, HEAD_DIM, hidden, steps, seed)[0] >= 0.99

    task = SHAPES[shape](bisect(held, guess))
    parameters = FactModel(task, dim, dim // HEAD_DIM, HEAD_DIM, hidden).parameter_count
    bits = information_bound(task.subjects, task.relations, task.answers)
    return task.subjects * task.relations, parameters, bits


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Bisect over widths; the slope of facts in parameters must be near one."""
    dims = [16, 24, 32, 48] if full else [16, 24, 32]
    steps = 16_000 if full else 2500
    shapes = tuple(SHAPES) if full else ("S = R",)
    guesses = {"S = R": 0.6, "R = √S": 2.0, "D = S": 0.5}
    found = {
        shape: [held_facts(shape, d, 2 * d, steps, seed, max(int(guesses[shape] * d), 3)) for d in dims]
        for shape in shapes
    }
    facts, parameters, bits = (list(column) for column in zip(*found["S = R"], strict=True))
    shares = [bit / count for bit, count in zip(bits, parameters, strict=True)]
    checks = [
        Check("slope of facts in parameters", log_log_slope(parameters, facts), 0.7, 1.3, 1.0),
        Check("facts a parameter, widest", facts[-1] / parameters[-1], 0.05, 0.25, 0.15),
        Check("bits a parameter, most", max(shares), 0.0, 2.0, 0.45),
    ]
    figure, (axes,) = style.new_figure()
    for look, (shape, rows) in zip(style.series(), found.items(), strict=False):
        axes.loglog([row[1] for row in rows], [row[0] for row in rows], label=shape, **look)
    axes.loglog(parameters, [0.15 * count for count in parameters], **style.THEORY)
    axes.set(xlabel="trained parameters", ylabel="facts recalled to 99 %")
    axes.legend(fontsize=8, title="0.15 a parameter dashed", title_fontsize=8)
    return Outcome(
        "Facts held against parameters",
        checks,
        figure,
        {shape: {"dims": dims, "facts, parameters, bits": rows} for shape, rows in found.items()},
    )
