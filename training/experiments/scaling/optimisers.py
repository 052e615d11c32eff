"""How optimisers fill a memory, beside the authors' stored runs (arXiv 2310.02984, section 4).

N = 100 inputs, M = 5 outputs, alpha = 2, T = 10,240 samples in one pass, ten seeds. The stored figures are means of
ten runs by the authors of the paper, other draws of the same set-up.
"""

import torch

from ait.memory.storage import recall_error, zipf
from ait.memory.trained import Training, initial_memories, train_memories
from training.experiments import style
from training.experiments.outcome import Check, Outcome
from training.experiments.scaling.setting import OUTPUTS, targets

INPUTS, ALPHA, SAMPLES, SEEDS = 100, 2.0, 10_240, 10

# The authors' stored runs: (set-up, width) -> mean error.
STORED: dict[str, tuple[Training, int, float]] = {
    "SGD 10, batch 16": (Training(rate=10, batch=16), 100, 0.0059),
    "SGD 10, batch 256": (Training(rate=10, batch=256), 100, 0.0227),
    "SGD 10, batch 1024": (Training(rate=10, batch=1024), 100, 0.0393),
    "SGD 0.1, batch 16": (Training(rate=0.1, batch=16), 100, 0.0440),
    "SGD 1, batch 16": (Training(rate=1, batch=16), 100, 0.0185),
    "SGD 100, batch 16": (Training(rate=100, batch=16), 100, 0.0024),
    "Adam 10, batch 1024": (Training(optimiser="adam", rate=10, batch=1024), 100, 0.0051),
    "SGD 1, batch 1024": (Training(rate=1, batch=1024), 100, 0.073),
    "the same, layer norm": (Training(rate=1, batch=1024, layer_norm=True), 100, 0.068),
    "Adam 1, batch 1024": (Training(optimiser="adam", rate=1, batch=1024), 100, 0.046),
    "Adam, layer norm": (Training(optimiser="adam", rate=1, batch=1024, layer_norm=True), 100, 0.026),
    "SGD 1, width 20": (Training(rate=1, batch=1024), 20, 0.163),
    "width 20, layer norm": (Training(rate=1, batch=1024, layer_norm=True), 20, 0.168),
    "learnable, SGD 1, batch 16": (Training("learnable", rate=1, batch=16), 100, 0.0015),
    "exponential, SGD 1, batch 16": (Training("exponential", rate=1, batch=16), 100, 0.0023),
}
# Without a stored run to compare with.
OTHERS = {
    "sign 10, batch 1024": Training(optimiser="sign", rate=10, batch=1024),
    "rescaled 10, batch 1024": Training(optimiser="rescaled", rate=10, batch=1024),
}


def measure(training: Training, dim: int, seeds: int, seed: int) -> float:
    """Train memories and average their error."""
    generator = torch.Generator().manual_seed(seed)
    probabilities = zipf(INPUTS, ALPHA)
    labels = targets(INPUTS)
    start = initial_memories(seeds, INPUTS, OUTPUTS, dim, training, generator)
    samples = torch.multinomial(probabilities.expand(seeds, -1), SAMPLES, replacement=True, generator=generator)
    trained = train_memories(start, samples, labels, training)
    return float(recall_error(trained.logits(), labels, probabilities).mean())


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Train every set-up; means must lie near the stored ones, and what the paper says of them must hold."""
    seeds = 40 if full else SEEDS
    found = {name: measure(training, dim, seeds, seed) for name, (training, dim, _) in STORED.items()}
    others = {name: measure(training, 100, seeds, seed) for name, training in OTHERS.items()}
    checks = [
        Check.near(name, found[name], stored, share=0.3, margin=0.002) for name, (_, _, stored) in STORED.items()
    ]
    checks += [
        Check(
            "batch 16 below 256 below 1024",
            min(
                found["SGD 10, batch 256"] - found["SGD 10, batch 16"],
                found["SGD 10, batch 1024"] - found["SGD 10, batch 256"],
            ),
            0.0,
            1.0,
        ),
        Check(
            "Adam below SGD at batch 1024",
            found["SGD 10, batch 1024"] - found["Adam 10, batch 1024"],
            0.01,
            1.0,
            0.034,
        ),
    ]
    figure, (left, right) = style.new_figure(columns=2)
    for look, (name, point) in zip(
        style.series(), {"stored by the authors": 2, "measured": None}.items(), strict=False
    ):
        values = [entry[2] if point == 2 else found[key] for key, entry in STORED.items()]
        left.semilogx(values, range(len(values)), **(look | {"linestyle": ""}), label=name)
    left.set_yticks(range(len(STORED)), list(STORED), fontsize=7)
    left.invert_yaxis()
    left.set_xlabel("error")
    left.legend(fontsize=8)
    steps = ("SGD 0.1, batch 16", "SGD 1, batch 16", "SGD 10, batch 16", "SGD 100, batch 16")
    batches = ("SGD 10, batch 16", "SGD 10, batch 256", "SGD 10, batch 1024")
    looks = style.series()
    right.loglog([0.1, 1, 10, 100], [found[name] for name in steps], label="by learning rate, batch 16", **next(looks))
    right.loglog([16, 256, 1024], [found[name] for name in batches], label="by batch, rate 10", **next(looks))
    right.set(xlabel="learning rate or batch", ylabel="error")
    right.legend(fontsize=8)
    stored = {name: entry[2] for name, entry in STORED.items()}
    return Outcome(
        f"Error after {SAMPLES:,} samples by optimiser, beside the authors' runs",
        checks,
        figure,
        {"measured": found, "stored": stored, "others": others, "seeds": seeds},
    )
