"""Memorisation as data shrink: gap between train and test loss, and distances to the training features.

The nearest-neighbour view (arXiv 2405.08707) takes a trained model to store its training set. A small classifier is
trained on 100, 10 and 1 % of a synthetic set (Gaussian classes with some wrong labels, not images), and asked how much
nearer changed training points lie to stored training features than changed new points do: AUC = P(g_train < g_test).
Training ends after a few hundred steps: with many more, the training loss is zero from 10 % of the set downwards, and
how sure wrong answers are decides the gap, not the data.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ait.memory.global_energy import nearest_pattern
from training.experiments import style
from training.experiments.outcome import Check, Outcome

CLASSES, DIM, POINTS, TEST = 10, 32, 5000, 1000
WRONG_LABELS, SEPARATION, CHANGE = 0.1, 0.6, 1.0
FRACTIONS = (1.0, 0.1, 0.01)
STEPS = 300


def memorisation_auc(train: Tensor, test: Tensor) -> float:
    """Probability that a training distance (n,) is smaller than a test distance (m,); one half where equal."""
    smaller = (train[:, None] < test).double() + 0.5 * (train[:, None] == test).double()
    return float(smaller.mean())


def draw(count: int, centres: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw points (count, DIM) and their labels, some of them wrong."""
    true = torch.randint(CLASSES, (count,), generator=generator)
    points = centres[true] + torch.randn(count, DIM, generator=generator)
    wrong = torch.rand(count, generator=generator) < WRONG_LABELS
    return points, torch.where(wrong, torch.randint(CLASSES, (count,), generator=generator), true)


def measure(fraction: float, steps: int, seed: int) -> dict[str, float]:
    """Train on a fraction of the set; measure losses, and distances of features to the stored training features."""
    generator = torch.Generator().manual_seed(seed)
    centres = SEPARATION * torch.randn(CLASSES, DIM, generator=generator)
    points, labels = draw(POINTS, centres, generator)
    test_points, test_labels = draw(TEST, centres, generator)
    count = round(fraction * POINTS)
    points, labels = points[:count], labels[:count]
    body = nn.Sequential(nn.Linear(DIM, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
    head = nn.Linear(64, CLASSES)
    optimiser = torch.optim.Adam([*body.parameters(), *head.parameters()], lr=2e-3)
    for _ in range(steps):
        batch = torch.randint(count, (128,), generator=generator)
        loss = F.cross_entropy(head(body(points[batch])), labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        stored = F.normalize(body(points), dim=-1)
        # Training and test points are changed alike: without memorisation the AUC would be one half.
        near, far = (
            nearest_pattern(F.normalize(body(x + CHANGE * torch.randn(x.shape, generator=generator)), dim=-1), stored)[
                0
            ]
            for x in (points[:TEST], test_points)
        )
        train_loss = float(F.cross_entropy(head(body(points)), labels))
        test_loss = float(F.cross_entropy(head(body(test_points)), test_labels))
    return {"train loss": train_loss, "test loss": test_loss, "AUC": memorisation_auc(near, far)}


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Compare fractions; the gap and the AUC must grow as the training set shrinks."""
    seeds = range(seed, seed + (10 if full else 2))
    figures: dict[str, list[float]] = {"train loss": [], "test loss": [], "AUC": []}
    with torch.random.fork_rng(devices=[]):
        for fraction in FRACTIONS:
            torch.manual_seed(seed)
            runs = [measure(fraction, STEPS, one) for one in seeds]
            for name, values in figures.items():
                values.append(sum(found[name] for found in runs) / len(runs))
    gap = [test - train for train, test in zip(figures["train loss"], figures["test loss"], strict=True)]
    auc = figures["AUC"]
    limit = float("inf")
    checks = [
        Check("gap, 10 % less 100 %", gap[1] - gap[0], 0.0, limit),
        Check("gap, 1 % less 10 %", gap[2] - gap[1], 0.0, limit),
        Check("AUC, 10 % less 100 %", auc[1] - auc[0], 0.0, 1.0),
        Check("AUC, 1 % less 10 %", auc[2] - auc[1], 0.0, 1.0),
        Check("AUC at 100 %", auc[0], 0.5, 1.0),
    ]
    figure, (left, right) = style.new_figure(columns=2)
    counts = [round(fraction * POINTS) for fraction in FRACTIONS]
    for look, name in zip(style.series(), ("train loss", "test loss"), strict=False):
        left.semilogx(counts, figures[name], label=name, **look)
    right.semilogx(counts, auc, **next(style.series()))
    right.axhline(0.5, **style.THEORY)
    for axes in (left, right):
        axes.set_xlabel("training points")
        style.label_ticks(axes, counts)
    left.set_ylabel("cross-entropy, nats")
    left.legend(fontsize=8)
    right.set(ylabel="memorisation AUC", ylim=(0.4, 1.02))
    return Outcome(
        "Memorisation as data shrink", checks, figure, {"fractions": list(FRACTIONS), "gap": gap, **figures}
    )
