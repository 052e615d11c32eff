"""Four classifiers on one backbone: linear, cosine, associative, and associative with the batch's own writes.

Each is trained with a small backbone on eight of ten classes, on features that are fixed. Then the other two classes
are written with a few examples, without training: into the associative heads by `AssociativeHead.teach`, into the
linear one as imprinted weights (arXiv 1712.07136), class means as long as the rows that were learned. Last, all ten
classes are forgotten and written from examples alone.

``run`` takes synthetic features, whose classes have three clusters each. ``compare`` takes any, such as those of a
checkpoint's images.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ait.memory.associative_head import AssociativeHead
from training.evaluation.metrics import measure
from training.experiments import style
from training.experiments.outcome import Check, Outcome
from training.teaching.unfamiliarity import auroc, logit_energy

HEADS = ("linear", "cosine", "associative", "associative, batch")
KNOWN = 8
WRITES = (1, 5, 20, 100)
CLASSES, CLUSTERS, DIM, WIDTH = 10, 3, 48, 32
NOISE = 0.5


@dataclass(frozen=True)
class Split:
    """Fixed features with labels below `CLASSES`.

    Attributes:
        features: (N, D) float32.
        labels: (N,) int64.
    """

    features: Tensor
    labels: Tensor

    def of(self, classes: Sequence[int]) -> "Split":
        """Keep some classes."""
        chosen = torch.isin(self.labels, torch.tensor(list(classes)))
        return Split(self.features[chosen], self.labels[chosen])


def synthetic(count: int, seed: int, draw: int) -> Split:
    """Draw points of classes that have `CLUSTERS` clusters each; ``draw`` tells training from test points."""
    centres = torch.randn(CLASSES, CLUSTERS, DIM, generator=torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(1000 * seed + draw)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    cluster = torch.randint(CLUSTERS, (count,), generator=generator)
    return Split(centres[labels, cluster] + 1.4 * torch.randn(count, DIM, generator=generator), labels)


def make_head(kind: str, width: int, classes: int) -> nn.Linear | AssociativeHead:
    """Make an untrained classifier of one of `HEADS`."""
    if kind == "linear":
        return nn.Linear(width, classes)
    return AssociativeHead(width, classes, num_priors=1 if kind == "cosine" else 4)


def compare(kind: str, train: Split, test: Split, steps: int, seed: int) -> dict[str, float]:
    """Train one classifier on the known classes, and measure it on them, on unknown ones, and after writes.

    Args:
        kind: One of `HEADS`.
        train: Features of all classes; the last two classes are only written.
        test: Others of the same classes.
        steps: Updates, of 128 examples each.
        seed: Of start, order and noise.
    """
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    known = train.of(range(KNOWN))
    mean, spread = known.features.mean(0), known.features.std(0).clamp_min(1e-6)
    body = nn.Sequential(
        nn.Linear(train.features.shape[1], 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH), nn.LayerNorm(WIDTH)
    )
    head = make_head(kind, WIDTH, KNOWN)
    optimiser = torch.optim.AdamW([*body.parameters(), *head.parameters()], lr=2e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, total_iters=steps)

    def embed(features: Tensor) -> Tensor:
        embedded: Tensor = body((features - mean) / spread)
        return embedded

    for _ in range(steps):
        rows = torch.randint(len(known.labels), (128,), generator=generator)
        features, labels = embed(known.features[rows]), known.labels[rows]
        if kind == "associative, batch" and isinstance(head, AssociativeHead):
            logits = head.forward_with_batch(features, labels, rate=0.5)
        else:
            logits = head(features)
        optimiser.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        seen, unseen = test.of(range(KNOWN)), test.of(range(KNOWN, CLASSES))
        logits = head(embed(seen.features))
        noisy = seen.features + NOISE * spread * torch.randn(seen.features.shape, generator=generator)
        result = measure(logits, seen.labels, [str(label) for label in range(KNOWN)])
        found = {
            "accuracy": result.top1,
            "calibration error": result.ece,
            "noise": accuracy(head(embed(noisy)), seen.labels),
            "unknown": auroc(logit_energy(logits), logit_energy(head(embed(unseen.features)))),
        }
        stored, asked = Split(embed(train.features), train.labels), Split(embed(test.features), test.labels)
        for count in WRITES:
            new = logits_after_writes(head, stored, asked.features, range(KNOWN, CLASSES), count)
            found[f"all, {count} written"] = accuracy(new, asked.labels)
            fresh = asked.labels >= KNOWN
            found[f"new, {count} written"] = accuracy(new[fresh], asked.labels[fresh])
            alone = logits_after_writes(head, stored, asked.features, range(CLASSES), count)
            found[f"writes alone, {count}"] = accuracy(alone, asked.labels)
    return found


def logits_after_writes(head: Any, train: Split, queries: Tensor, classes: Sequence[int], count: int) -> Tensor:
    """Logits (N, CLASSES) of queries after the first examples of some classes are written; the head stays as it is.

    Args:
        head: Of the known classes.
        train: Embedded examples.
        queries: Embedded, (N, F).
        classes: What is written; those among the known ones replace what was learned.
        count: Examples of each.
    """
    examples = {label: train.features[train.labels == label][:count] for label in classes}
    if isinstance(head, AssociativeHead):
        taught = AssociativeHead(head.in_features, KNOWN, head.num_priors)
        taught.load_state_dict(head.state_dict())
        taught.add_classes(CLASSES - KNOWN)
        for label, features in examples.items():
            taught.forget(label)
            taught.teach(label, features)
        return taught(queries)
    rows, bias = head.weight, F.pad(head.bias, (0, CLASSES - KNOWN), value=float(head.bias.mean()))
    length = rows.norm(dim=-1).mean()
    weight = F.pad(rows, (0, 0, 0, CLASSES - KNOWN))
    for label, features in examples.items():
        weight[label] = length * F.normalize(F.normalize(features, dim=-1).mean(0), dim=-1)
        bias[label] = head.bias.mean()
    return F.linear(queries, weight, bias)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers."""
    return float((logits.argmax(-1) == labels).double().mean())


def run(full: bool = False, seed: int = 0) -> Outcome:
    """Compare the heads over seeds; the associative one must match the linear one, and learn from writes."""
    seeds = range(seed, seed + (5 if full else 2))
    with torch.random.fork_rng(devices=[]):
        runs = {
            kind: [
                compare(kind, synthetic(6000, one, 0), synthetic(2000, one, 1), 2000 if full else 400, one)
                for one in seeds
            ]
            for kind in HEADS
        }
    means = {
        kind: {name: sum(found[name] for found in several) / len(several) for name in several[0]}
        for kind, several in runs.items()
    }
    linear, associative = means["linear"], means["associative"]
    checks = [
        Check("accuracy, associative less linear", associative["accuracy"] - linear["accuracy"], -0.02, 1.0),
        Check("two classes written, associative", associative["new, 100 written"], 2 / CLASSES, 1.0),
        Check("unknown, AUROC, associative", associative["unknown"], 0.5, 1.0),
        Check("ten classes from writes, 100 less 1", gain(associative), 0.0, math.inf),
    ]
    figure, (left, right) = style.new_figure(columns=2)
    names = ["accuracy", "noise", "unknown", "calibration error"]
    style.bars(left, names, {kind: [means[kind][name] for name in names] for kind in HEADS})
    for look, kind in zip(style.series(), HEADS, strict=False):
        right.semilogx(WRITES, [means[kind][f"all, {count} written"] for count in WRITES], label=kind, **look)
    style.label_ticks(right, list(WRITES))
    right.set(xlabel="examples written of each of two classes", ylabel="accuracy, all ten classes")
    right.legend(fontsize=8)
    return Outcome("Classifiers on one backbone", checks, figure, {"seeds": list(seeds), "runs": runs, "means": means})


def gain(found: dict[str, float]) -> float:
    """Compute what a hundred examples give over one, where all classes come from writes."""
    return found[f"writes alone, {WRITES[-1]}"] - found[f"writes alone, {WRITES[0]}"]
