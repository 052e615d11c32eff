"""How far a model has stored its training images, by distances of features (arXiv 2405.08707, nearest neighbours)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from training.audit.images import SeenImages
from training.audit.neighbours import nearest

_MOST = 10_000  # images of each kind that are looked at


@dataclass(frozen=True)
class Memorisation:
    """Distances between features of length 1.

    Attributes:
        radius: Half of the median distance of a training image to the nearest other one: within it, a query's nearest
            training image is mostly its own.
        smallest: The smallest distance of two training images that is not zero.
        train_distances: Distance of training images to the nearest other training image, shape (n,).
        test_distances: Distance of test images to the nearest training image, shape (m,); empty without a test split.
        auc: Probability that a mirrored training image is nearer to the stored training images than a mirrored test
            image, one half where equal; None without a test split. A model that takes an image and its mirror image
            for the same raises it too.
        train_accuracy: Share of training images that the model labels right.
        test_accuracy: The same of test images; None without.
    """

    radius: float
    smallest: float
    train_distances: Tensor
    test_distances: Tensor
    auc: float | None
    train_accuracy: float
    test_accuracy: float | None


def measure_memorisation(images: SeenImages) -> Memorisation:
    """Measure how far the model has stored its training images.

    The first split called train, or else the only one, is what is stored; the others together are the test.
    """
    names = images.splits
    train = images.split == (names.index("train") if "train" in names else 0)
    test = ~train
    stored = images.features[train]
    right = images.probabilities.argmax(1) == images.labels
    own = _to_others(stored) if len(stored) > 1 else torch.empty(0)
    auc, test_distances = None, torch.empty(0)
    if bool(test.any()):
        test_distances = nearest(_some(images.features[test]), stored).distances[:, 0]
        auc = memorisation_auc(
            nearest(_some(images.mirrored[train]), stored).distances[:, 0],
            nearest(_some(images.mirrored[test]), stored).distances[:, 0],
        )
    positive = own[own > 0]
    return Memorisation(
        radius=float(own.median()) / 2 if len(own) else 0.0,
        smallest=float(positive.min()) if len(positive) else 0.0,
        train_distances=own,
        test_distances=test_distances,
        auc=auc,
        train_accuracy=float(right[train].double().mean()),
        test_accuracy=float(right[test].double().mean()) if bool(test.any()) else None,
    )


def memorisation_auc(train: Tensor, test: Tensor) -> float:
    """Compute the probability that a training distance (n,) is smaller than a test distance (m,), half where equal."""
    ordered = test.sort().values
    larger = len(test) - torch.searchsorted(ordered, train, right=True)
    equal = torch.searchsorted(ordered, train, right=True) - torch.searchsorted(ordered, train)
    return float((larger + 0.5 * equal).double().mean() / len(test))


def _to_others(stored: Tensor) -> Tensor:
    """Distance of some of the stored vectors to the nearest other, (n,)."""
    # The nearest is the vector itself, or its equal.
    return nearest(_some(stored), stored, 2).distances[:, 1]


def _some(rows: Tensor) -> Tensor:
    """Take at most `_MOST` rows, spread evenly."""
    return rows[torch.linspace(0, len(rows) - 1, min(_MOST, len(rows))).long()]
