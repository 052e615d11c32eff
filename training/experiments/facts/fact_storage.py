"""Facts held against parameters (arXiv 2412.06538, section 4).

With eight heads of width d/8 and a network of width 2 d, the facts that a model can recall to 99 % grow in proportion
to its parameters, at about 0.15 facts, or 0.45 bits, a parameter for D = 8. What it can recall is what the better of
some trainings does: near the limit, they end unevenly. Heads matter more than their width: a model of width 16 with
two heads of width 8 cannot keep subject and relation apart from the noise, and holds a fifth of the facts. The
information bound S R log2 D is far: parameters of 32 bits could hold more.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from ait.memory.global_energy import log_log_slope
from ait.memory.probe import information_bound
from training.experiments import style
from training.experiments.facts.models import FactModels, train_models
from training.experiments.facts.task import FactTask
from training.experiments.outcome import Check, Outcome

ANSWERS, HEADS, HELD = 8, 8, 0.99
# S against the size that is searched: S = R, R = sqrt(S) and D = S.
SHAPES = {
    "S = R": lambda size: FactTask(size, size, ANSWERS, 2 * size),
    "R = √S": lambda size: FactTask(size, max(round(size**0.5), 1), ANSWERS, size + max(round(size**0.5), 1)),
    "D = S": lambda size: FactTask(size, size, size, 2 * size),
}
# Facts over parameters of the tasks that are tried in full and in the reduced run, which trains for less long.
DENSITIES, REDUCED_DENSITIES = (0.07, 0.09, 0.115, 0.14), (0.09, 0.105, 0.12)


def sizes_of(shape: str, parameters: int, densities: Sequence[float]) -> list[int]:
    """Choose sizes whose facts are to the parameters as given."""
    power = 2 / 3 if shape == "R = √S" else 1 / 2
    return [round((density * parameters) ** power) for density in densities]


def held_facts(facts: list[int], recalled: list[float]) -> float:
    """Find how many facts are recalled to 99 %, between the last task that is and the next; 0 if none is."""
    held = 0.0
    for place, share in enumerate(recalled):
        if share >= HELD:
            held = float(facts[place])
        elif held and recalled[place - 1] >= HELD:
            before = recalled[place - 1]
            return held + (facts[place] - held) * (before - HELD) / (before - share)
    return held


@dataclass(frozen=True)
class Storage:
    """What models of one width hold.

    Attributes:
        facts: Of each task that was tried.
        recalled: Share of them that the best model of that task recalls.
        parameters: Trained numbers of a model.
        held: Facts recalled to 99 %.
        bits: Bits of these.
    """

    facts: list[int]
    recalled: list[float]
    parameters: int
    held: float
    bits: float


def measure(shape: str, dim: int, densities: Sequence[float], steps: int, trials: int, seed: int) -> Storage:
    """Train models of width d on tasks of several sizes, all at once."""
    parameters = FactModels([SHAPES[shape](2)], dim, HEADS, dim // HEADS, 2 * dim).parameter_count
    tasks = [SHAPES[shape](size) for size in sizes_of(shape, parameters, densities)]
    models = FactModels([t for t in tasks for _ in range(trials)], dim, HEADS, dim // HEADS, 2 * dim, seed)
    best = train_models(models, steps).view(len(tasks), trials).amax(1).tolist()
    facts = [task.subjects * task.relations for task in tasks]
    held = held_facts(facts, best)
    answers = max(task.answers for task, share in zip(tasks, best, strict=True) if share >= HELD or task is tasks[0])
    return Storage(facts, best, parameters, held, information_bound(1, 1, answers) * held)


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Train over widths; facts must grow in proportion to parameters, and at the known rate."""
    dims = [16, 24, 32, 48] if full else [16, 32]
    densities, steps, trials = (DENSITIES, 10_000, 3) if full else (REDUCED_DENSITIES, 5000, 3)
    shapes = tuple(SHAPES) if full else ("S = R",)
    found = {shape: {dim: measure(shape, dim, densities, steps, trials, seed) for dim in dims} for shape in shapes}
    rows = list(found["S = R"].values())
    parameters, held = [float(row.parameters) for row in rows], [row.held for row in rows]
    checks = [
        Check("slope of facts in parameters", log_log_slope(parameters, held), 0.7, 1.3, 1.0),
        *(
            Check(f"facts a parameter, width {dim}", count / number, 0.1, 0.2, 0.15)
            for dim, count, number in zip(dims, held, parameters, strict=True)
        ),
        Check("bits a parameter, most", max(row.bits / row.parameters for row in rows), 0.3, 0.6, 0.45),
    ]
    figure, (left, right) = style.new_figure(columns=2)
    for look, (shape, by_dim) in zip(style.series(), found.items(), strict=False):
        left.loglog([row.parameters for row in by_dim.values()], [row.held for row in by_dim.values()],
                    label=shape, **look)  # fmt: skip
    left.loglog(parameters, [0.15 * count for count in parameters], **style.THEORY)
    left.set(xlabel="trained parameters", ylabel="facts recalled to 99 %")
    left.legend(fontsize=8, title="0.15 a parameter dashed", title_fontsize=8)
    for look, (dim, row) in zip(style.series(), found["S = R"].items(), strict=False):
        right.plot([count / row.parameters for count in row.facts], row.recalled, label=f"width {dim}", **look)
    right.axhline(HELD, **style.THEORY)
    right.set(xlabel="facts of the task over parameters", ylabel="recalled by the best model")
    right.legend(fontsize=8)
    figures = {shape: {str(dim): asdict(row) for dim, row in by_dim.items()} for shape, by_dim in found.items()}
    return Outcome("Facts held against parameters", checks, figure, figures)
