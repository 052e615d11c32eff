"""What is wrong with a set of images, each finding with what to do about it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ait_lite.class_memory.readouts.regression import solve
from training.audit.images import SeenImages
from training.audit.neighbours import exact_copies, near_copies, nearest

Kind = Literal["leak", "conflict", "label", "copy"]

TITLES: dict[Kind, str] = {
    "leak": "The same image in two splits",
    "conflict": "The same image under two labels",
    "label": "Labels that are likely wrong",
    "copy": "The same image twice in one split",
}
_SAME = 0.998  # correlation of two thumbnails of the same scene
_VOTES = 10  # neighbours that vote on a label
_TEMPERATURE = 0.07  # of their weights, by cosine
_DOUBT = 0.4  # by how much another label must be likelier
_JUDGES = 4096  # images that choose the regularisation


@dataclass(frozen=True)
class Finding:
    """Something to look at.

    Attributes:
        kind: leak, conflict, label or copy.
        image: Position of the image.
        other: Position of the other image of a pair; of a doubtful label, of the most similar image that has the
            suggested one; -1 where there is none.
        score: Of pairs, correlation of their thumbnails, 1 for equal files; of a doubtful label, by how much the
            suggested one is likelier, at most 1.
        suggestion: Label to consider; empty if none.
        action: What to do, in words.
    """

    kind: Kind
    image: int
    other: int
    score: float
    suggestion: str
    action: str


def find_copies(images: SeenImages) -> list[Finding]:
    """Find images that are in the data twice: across splits, under two labels, or within a split."""
    pairs: dict[tuple[int, int], float] = {}
    for group in exact_copies(images.signatures):
        pairs |= {(group[0], other): 1.0 for other in group[1:]}
    for first, second, correlation in near_copies(images.signatures, _SAME):
        pairs.setdefault((first, second), min(correlation, 0.9999))
    return [_pair(images, first, second, score) for (first, second), score in pairs.items()]


def _pair(images: SeenImages, first: int, second: int, score: float) -> Finding:
    labels, splits = images.labels.tolist(), images.split.tolist()
    if labels[first] != labels[second]:
        action = f"decide between {images.label(first)} and {images.label(second)}, and remove one"
        return Finding("conflict", second, first, score, images.label(first), action)
    if splits[first] != splits[second]:
        # Of a pair across splits the training image goes: the test stays what it was.
        names = images.splits
        keep, gone = (second, first) if names[splits[first]] == "train" else (first, second)
        return Finding("leak", gone, keep, score, "", f"remove it from {names[splits[gone]]}")
    return Finding("copy", second, first, score, "", "remove one of them")


def find_doubtful_labels(images: SeenImages, most: int = 200) -> list[Finding]:
    """Find images whose label is likely wrong.

    Three opinions are averaged: that of the nearest other images, that of a ridge regression on all other images'
    features (leave one out, in closed form), and the model's. The first two never see the image's own label; a model
    that has learned a wrong label by heart hides it, so use one that was stopped before.

    Of 40 labels made wrong at random among 1,200 CIFAR-10 training images, that found 20 with its first 40 findings
    and 35 with its first 120, by a model of 80 % accuracy; without the model's opinion it was 12 and 28.

    Args:
        images: The images.
        most: Findings at most, the most doubtful first.
    """
    labels, classes = images.labels, len(images.classes)
    if len(torch.unique(labels)) < 2 or len(images) <= _VOTES:
        return []
    opinion = (_votes(images) + _left_out(images.features, labels, classes) + images.probabilities) / 3
    own = opinion.gather(1, labels[:, None])[:, 0]
    best, suggested = opinion.scatter(1, labels[:, None], -1.0).max(1)
    doubt = best - own
    order = doubt.argsort(descending=True, stable=True)[:most].tolist()
    findings = []
    for index in order:
        if doubt[index] < _DOUBT:
            break
        name = images.classes[int(suggested[index])]
        other = _closest(images, index, int(suggested[index]))
        action = f"look whether it shows {name}, not {images.label(index)}"
        findings.append(Finding("label", index, other, float(doubt[index]), name, action))
    return findings


def _votes(images: SeenImages) -> Tensor:
    """Share of the nearest other images that have each label, weighed by closeness: (N, classes)."""
    near = nearest(images.features, images.features, _VOTES, exclude_self=True)
    weights = (near.cosines / _TEMPERATURE).softmax(1)
    votes = torch.zeros(len(images), len(images.classes))
    return votes.scatter_add_(1, images.labels[near.indices], weights)


def _left_out(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Predictions of ridge regression for each image as if it were not there, as shares: (N, classes)."""
    x = features.double().numpy()
    x = np.concatenate([x - x.mean(0), np.full((len(x), 1), x.std() + 1e-12)], axis=1)
    targets = F.one_hot(labels, classes).double().numpy()
    judges = np.unique(np.linspace(0, len(x) - 1, min(_JUDGES, len(x))).astype(int))
    ridge = solve(x.T @ x, x.T @ targets, x[judges], targets[judges])
    return torch.from_numpy(ridge.leave_one_out(x, targets)).float().clamp(0, 1)


def _closest(images: SeenImages, index: int, label: int) -> int:
    members = (images.labels == label).nonzero().flatten()
    members = members[members != index]
    if not len(members):
        return -1
    return int(members[(images.features[members] @ images.features[index]).argmax()])
