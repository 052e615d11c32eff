"""Which score tells images of classes that a model has not learned, and textures and noise, from those it has.

A small AiT is trained on all but two classes; other images are known, held out, textures or noise. Scores, the higher
the less familiar:

* ``max softmax``: less the probability of the likeliest class, the usual baseline
* ``logit energy``: ``-log sum exp`` of the logits
* ``k-th neighbour``: distance of the feature to the tenth nearest training feature
* ``patch energy``: mean energy of the patches under the last block's memory (arXiv 2309.12862, eq. 9)
* ``class memory``: less the p-value of the distance to the nearest example of a class memory
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ait.associative_transformer import AssociativeTransformer
from ait.interpret.memory_report import block_recall, trace_queries
from ait_lite.class_memory import ClassMemory
from training.experiments import style
from training.experiments.familiarity.images import (
    SIZE,
    draw_noise,
    draw_textures,
    folder_images,
    shape_images,
)
from training.experiments.outcome import Check, Outcome
from training.experiments.small_model import train_small_model
from training.teaching.unfamiliarity import (
    auroc,
    false_positive_rate,
    kth_distance,
    logit_energy,
    max_softmax,
)

SCORES = ("max softmax", "logit energy", "k-th neighbour", "patch energy", "class memory")
SETS = ("held-out classes", "textures", "noise")


@dataclass(frozen=True)
class Data:
    """Images and labels of all classes; those held out are chosen by the seed.

    Attributes:
        train_images: Shape (N, 3, S, S).
        train_labels: Shape (N,).
        test_images: Shape (n, 3, S, S).
        test_labels: Shape (n,).
    """

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def held_out(classes: int, seed: int) -> list[int]:
    """Choose two classes that are not learned, others for each seed until all were chosen."""
    first = 2 * seed % classes
    return [first, (first + 1) % classes]


def train_model(data: Data, known: list[int], epochs: int, seed: int) -> AssociativeTransformer:
    """Train a small AiT on the known classes, whose labels are their positions in `known`."""
    images, labels = select(data.train_images, data.train_labels, known)
    return train_small_model(images, labels, epochs, 3e-3, seed)


def select(images: Tensor, labels: Tensor, classes: list[int]) -> tuple[Tensor, Tensor]:
    """Take the images of some classes, with their positions among these classes as labels."""
    place = torch.full((int(labels.max()) + 1,), -1)
    place[classes] = torch.arange(len(classes))
    chosen = place[labels] >= 0
    return images[chosen], place[labels[chosen]]


@torch.no_grad()
def read(model: AssociativeTransformer, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute logits (n, C), unit features (n, E), and mean patch energies of the last block (n,)."""
    logits, features, energies = [], [], []
    for batch in images.split(256):
        trace = trace_queries(model, batch)
        pooled = trace.tokens.mean(1)
        logits.append(model.forward_head(trace.tokens))
        features.append(F.normalize(pooled, dim=-1))
        energies.append(block_recall(model.associative_blocks()[-1], trace.queries[-1]).energy_before.mean(1))
    return torch.cat(logits), torch.cat(features), torch.cat(energies)


def measure(data: Data, epochs: int, seed: int) -> tuple[float, dict[str, dict[str, tuple[float, float]]]]:
    """Train a model, and score known and unknown images.

    Returns:
        Accuracy on the known classes; AUROC and false-positive rate by score and set.
    """
    classes = int(data.train_labels.max()) + 1
    unknown = held_out(classes, seed)
    known = [label for label in range(classes) if label not in unknown]
    model = train_model(data, known, epochs, seed)
    generator = torch.Generator().manual_seed(seed)
    images, labels = select(data.test_images, data.test_labels, known)
    channels, size = images.shape[1], images.shape[2]
    others = {
        "held-out classes": select(data.test_images, data.test_labels, unknown)[0],
        "textures": draw_textures(500, channels, size, generator),
        "noise": draw_noise(500, channels, size, generator),
    }
    stored_images, stored_labels = select(data.train_images, data.train_labels, known)
    _, stored, _ = read(model, stored_images)
    memory = ClassMemory(stored.shape[1])
    memory.write(
        [str(i) for i in range(len(stored))], stored.numpy(), [str(label) for label in stored_labels.tolist()]
    )

    def scores(pixels: Tensor) -> dict[str, Tensor]:
        logits, features, energies = read(model, pixels)
        answers = memory.recall(features.numpy(), evidence=1)
        values = (
            max_softmax(logits),
            logit_energy(logits),
            kth_distance(features, stored),
            energies,
            -torch.tensor([answer.p_value for answer in answers]),
        )
        return dict(zip(SCORES, values, strict=True))

    inside = scores(images)
    accuracy = float((read(model, images)[0].argmax(-1) == labels).float().mean())
    found: dict[str, dict[str, tuple[float, float]]] = {score: {} for score in SCORES}
    for name, pixels in others.items():
        outside = scores(pixels)
        for score in SCORES:
            pair = inside[score], outside[score]
            found[score][name] = (auroc(*pair), false_positive_rate(*pair))
    return accuracy, found


def run(full: bool = False, seed: int = 0, data: Path | None = None) -> Outcome:
    """Train three models, each with other classes held out, and compare the scores.

    Args:
        full: More images and epochs.
        seed: Seed of the first model; the others follow.
        data: Folder with splits of class folders, such as CIFAR-10's; None: drawn shapes.
    """
    each = 800 if full else 300
    if data is None:
        generator = torch.Generator().manual_seed(seed)
        images = Data(*shape_images(each, generator), *shape_images(100, generator))
    else:
        images = Data(*folder_images(data, each))
    epochs = (40 if full else 20) if data is None else (20 if full else 10)
    runs = [measure(images, epochs, seed + i) for i in range(3)]
    accuracy = sum(found for found, _ in runs) / len(runs)
    tables = [
        {s: {name: sum(found[s][name][part] for _, found in runs) / len(runs) for name in SETS} for s in SCORES}
        for part in (0, 1)
    ]
    areas, rates = tables
    best = max(SCORES[1:], key=lambda score: sum(areas[score].values()))
    baseline = areas["max softmax"]
    chance = 1 / (int(images.train_labels.max()) - 1)
    checks = [
        Check("accuracy on known classes over chance", accuracy / chance, 2.0, 1 / chance),
        Check("held-out classes, max softmax, AUROC", baseline["held-out classes"], 0.5, 1.0),
        Check(
            f"best ({best}) less max softmax, mean AUROC",
            sum(areas[best].values()) / 3 - sum(baseline.values()) / 3,
            0.02,
            0.5,
        ),
    ]
    figure, (left, right) = style.new_figure(columns=2)
    for axes, table, label in ((left, areas, "AUROC"), (right, rates, "false positives at 95 % known kept")):
        style.bars(axes, list(SETS), {score: list(table[score].values()) for score in SCORES})
        axes.set(ylabel=label, ylim=(0, 1.02))
    left.axhline(0.5, **style.THEORY)
    figures = {
        "accuracy": accuracy,
        "AUROC": areas,
        "FPR95": rates,
        "AUROC of each seed": [{s: {n: found[s][n][0] for n in SETS} for s in SCORES} for _, found in runs],
        "best": best,
        "image size": SIZE if data is None else images.train_images.shape[-1],
    }
    return Outcome("Unknown images told by five scores, mean of three models", checks, figure, figures)
