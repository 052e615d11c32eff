"""Learnt embeddings in the plane, and maps of stored associations (arXiv 2310.02984).

With two dimensions, random embeddings cannot tell many inputs apart; learnt ones gather each output's inputs in a
direction of its own. The maps show softmax(E W U^T) for memories of ten inputs that store all alike (rho = 0) or by
frequency (rho = 1): by frequency, the frequent are recalled without doubt, and the rare are overruled.
"""

import torch
import torch.nn.functional as F

from ait.memory.storage import recall_error, recall_scores, storage_weights, store, zipf
from ait.memory.trained import Training, initial_memories, train_memories
from training.experiments import style
from training.experiments.outcome import Check, Outcome
from training.experiments.scaling.setting import OUTPUTS, embeddings, targets

INPUTS, SEEDS = 25, 8


def learnt(model: str, steps: int, seed: int) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Train memories of width 2 on equally frequent inputs.

    Returns:
        Share of inputs recalled, averaged over the seeds; embeddings of inputs (N, 2) and of outputs (M, 2) of the
        seed that recalls most.
    """
    generator = torch.Generator().manual_seed(seed)
    training = Training(model, rate=1.0, batch=100)
    start = initial_memories(SEEDS, INPUTS, OUTPUTS, 2, training, generator)
    samples = torch.randint(INPUTS, (SEEDS, 100 * steps), generator=generator)
    trained = train_memories(start, samples, targets(INPUTS), training)
    even = torch.full((INPUTS,), 1 / INPUTS, dtype=torch.float64)
    errors = recall_error(trained.logits(), targets(INPUTS), even)
    best = int(errors.argmin())
    assert trained.matrix is not None
    return 1 - float(errors.mean()), (trained.inputs @ trained.matrix)[best], trained.outputs[best]


def association_map(power: float, seed: int) -> torch.Tensor:
    """Store ten inputs at width 10 and read softmax(E W U^T), averaged over draws; shape (10, M)."""
    keys, outputs = embeddings(200, 10, 10, torch.Generator().manual_seed(seed))
    weights = storage_weights(zipf(10, 1.0), power=power)
    weights = (weights / weights.max()).float()
    scores = recall_scores(keys, store(keys, outputs, targets(10), weights.expand(200, -1)), outputs)
    return torch.softmax(scores, dim=-1).mean(0)


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Train in the plane, and draw embeddings and maps."""
    steps = 3000 if full else 800
    random_share, _, _ = learnt("matrix", steps, seed)
    learnt_share, inputs, outputs = learnt("learnable", steps, seed)
    maps = {power: association_map(power, seed) for power in (0.0, 1.0)}
    labels = targets(10)
    right = {power: grid.gather(1, labels[:, None]).squeeze(1) for power, grid in maps.items()}
    cosine = F.cosine_similarity(inputs, outputs[targets(INPUTS)], dim=-1)
    checks = [
        Check("learnt embeddings, inputs recalled", learnt_share, 0.9, 1.0, 1.0),
        Check("random embeddings, inputs recalled", random_share, 1 / OUTPUTS, 0.75),
        Check("learnt embeddings, least cosine with the own output", float(cosine.min()), 0.5, 1.0),
        Check("by frequency, first less last input", float(right[1.0][0] - right[1.0][-1]), 0.05, 1.0),
        Check.near("alike, first less last input", float(right[0.0][0] - right[0.0][-1]), 0.0, margin=0.05),
    ]
    figure, panels = style.new_figure(columns=3)
    for look, output in zip(style.series(), range(OUTPUTS), strict=False):
        own = inputs[targets(INPUTS) == output]
        panels[0].plot(*own.mT, **(look | {"linestyle": ""}), label=f"output {output}")
        end = outputs[output] / outputs.norm(dim=-1).max() * inputs.norm(dim=-1).max()
        panels[0].plot([0, float(end[0])], [0, float(end[1])], color=look["color"], linewidth=1)
    panels[0].set(title="learnt in the plane; outputs as lines", xlabel="first entry of W e", ylabel="second")
    panels[0].legend(fontsize=7)
    for axes, (power, grid) in zip(panels[1:], maps.items(), strict=True):
        drawn = axes.imshow(grid, cmap=style.HEATMAP, vmin=0, aspect="auto")
        axes.set(title=f"stored associations, rho = {power:g}", xlabel="output", ylabel="input, frequent first")
        axes.grid(False)
        figure.colorbar(drawn, ax=axes)
    figures = {
        "recalled": {"learnt": learnt_share, "random": random_share},
        "maps": [m.tolist() for m in maps.values()],
    }
    return Outcome("Learnt embeddings and stored associations", checks, figure, figures)
