"""Facts in attention or in the network: the one can stand in for the other (arXiv 2412.06538, section 4).

S = R = 16, D = 8, T = 16, d = 32, d_h = 8. With one head, no network suffices: attention must find subject and
relation. With enough heads, values and output projection hold the facts alone. In between, either adds what the other
lacks. One model's share depends on its start, most with one head: the mean of several is held against the known
figures. More than these contradicts nothing, for how well training went decides. In full, the paper's own size:
S = R = 32, T = 32, with d m of about 2,300 - a/2 for a = d d_h H attention parameters.
"""

from training.experiments import style
from training.experiments.facts.models import FactModels, train_models
from training.experiments.facts.task import FactTask
from training.experiments.outcome import Check, Outcome

DIM, HEAD_DIM = 32, 8
# Accuracy that this set-up reached elsewhere: heads -> hidden width -> share of facts.
EXPECTED = {
    1: {0: 0.25, 16: 0.48, 64: 0.64, 128: 0.66},
    4: {0: 0.90, 16: 0.94, 64: 1.0, 128: 1.0},
    8: {0: 0.99, 16: 1.0, 64: 1.0, 128: 1.0},
}
# How much less than a known figure a share may be.
MARGIN = 0.08
# Models of so many heads; three of others.
TRIALS = {1: 8}


def mean_recalled(task: FactTask, heads: int, hidden: int, steps: int, seed: int) -> float:
    """Train models of these sizes on facts of their own; return the mean share that they recall."""
    models = FactModels([task] * TRIALS.get(heads, 3), DIM, heads, HEAD_DIM, hidden, seed)
    return float(train_models(models, steps).mean())


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Train over heads and hidden widths."""
    task = FactTask(16, 16, noise=32, length=16)
    steps = 20_000 if full else 2500
    hidden = (0, 16, 64, 128) if full else (0, 16, 64)
    accuracy = {heads: {m: mean_recalled(task, heads, m, steps, seed) for m in hidden} for heads in EXPECTED}
    checks = [
        *(
            Check(f"{heads} head(s), hidden {m}", accuracy[heads][m], expected - MARGIN, 1.0, expected)
            for heads in EXPECTED
            for m, expected in EXPECTED[heads].items()
            if m in hidden
        ),
        Check("4 heads: hidden 64 less none", accuracy[4][64] - accuracy[4][0], 0.02, 1.0),
        Check("no network: 8 heads less 1", accuracy[8][0] - accuracy[1][0], 0.5, 1.0),
    ]
    figures: dict[str, object] = {
        "accuracy": {str(h): {str(m): a for m, a in row.items()} for h, row in accuracy.items()}
    }
    if full:
        large = FactTask(32, 32, noise=64, length=32)
        line = {}
        for heads in (5, 8, 12, 16):
            m = round((2300 - DIM * HEAD_DIM * heads / 2) / DIM)
            line[heads] = mean_recalled(large, heads, m, 12_000, seed)
        checks += [Check(f"full size, {heads} heads, on the line", value, 0.95, 1.0) for heads, value in line.items()]
        figures["full size"] = {str(heads): value for heads, value in line.items()}
    figure, (axes,) = style.new_figure()
    for look, (heads, row) in zip(style.series(), accuracy.items(), strict=False):
        axes.plot(hidden, list(row.values()), label=f"{heads} head{'s' * (heads > 1)}", **look)
        axes.plot(hidden, [EXPECTED[heads][m] for m in hidden], **(style.THEORY | {"color": look["color"]}))
    axes.set(xlabel="hidden width m of the network", ylabel="facts recalled (expected: dashed)", ylim=(0, 1.05))
    axes.legend(fontsize=8)
    return Outcome(f"Facts in attention and network, {task.subjects * task.relations} facts", checks, figure, figures)
