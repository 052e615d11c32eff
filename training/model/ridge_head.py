"""A classifier's head in closed form: ridge regression of one-hot labels on what the head reads.

The mathematics are those of a memory of classes (`ait_lite.class_memory.readouts.regression`), as a linear layer:
centring and scaling of the features, and a constant for the intercept, fold into its weight and bias.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from ait_lite.class_memory.readouts.regression import solve
from training.errors import RecipeError

# Examples that judge the regularisation; more would change the choice little.
_JUDGES: Final = 8192
_CHUNK: Final = 8192
# The Gram matrix and its eigenvectors take 16 D^2 bytes.
_WIDEST: Final = 4096


@dataclass(frozen=True)
class RidgeHead:
    """A solved head.

    Attributes:
        weight: (classes, D) float32.
        bias: (classes,) float32.
        regularisation: The chosen lambda, for features of mean squared length 1.
        left_out: (N, classes) float32: what the head would say of each example had it not been there.
    """

    weight: Tensor
    bias: Tensor
    regularisation: float
    left_out: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """Say what it says of features (N, D): logits (N, classes)."""
        return features @ self.weight.T + self.bias

    def accuracy(self, labels: Tensor) -> float:
        """Return the share of examples that are right when left out.

        Args:
            labels: (N,) int64, those that it was solved for.
        """
        return float((self.left_out.argmax(dim=1) == labels).double().mean())

    def error(self, labels: Tensor) -> float:
        """Return the mean squared error of the scores that examples get when left out, against one-hot labels.

        Args:
            labels: (N,) int64, those that it was solved for.
        """
        targets = torch.nn.functional.one_hot(labels, self.left_out.shape[1])
        return float((self.left_out.double() - targets).square().mean())

    def scaled(self, factor: float) -> "RidgeHead":
        """Multiply all that it says by a factor."""
        return RidgeHead(self.weight * factor, self.bias * factor, self.regularisation, self.left_out * factor)


def solve_head(features: Tensor, labels: Tensor, classes: int, seed: int = 0) -> RidgeHead:
    """Solve for the head with the smallest leave-one-out error among regularisations.

    Args:
        features: (N, D) float32, what the head reads of each image.
        labels: (N,) int64.
        classes: How many there are.
        seed: Which examples judge, where there are many.

    Returns:
        The head. Its scores are near 1 for the class it means and near 0 for others.
    """
    given = features.double().numpy()
    mean = given.mean(axis=0)
    scale = float(np.sqrt(np.square(given - mean).sum(axis=1).mean())) or 1.0
    rows = np.ones((len(given), given.shape[1] + 1))
    rows[:, :-1] = (given - mean) / scale
    targets = np.eye(classes)[labels.numpy()]
    judges = np.random.default_rng(seed).permutation(len(rows))[:_JUDGES]
    ridge = solve(rows.T @ rows, rows.T @ targets, rows[judges], targets[judges])
    parts = range(0, len(rows), _CHUNK)
    left_out = [ridge.leave_one_out(rows[at : at + _CHUNK], targets[at : at + _CHUNK]) for at in parts]
    weight = ridge.weights[:-1] / scale  # (D, classes)
    bias = ridge.weights[-1] - mean @ weight
    return RidgeHead(
        torch.from_numpy(weight.T.astype(np.float32)),
        torch.from_numpy(bias.astype(np.float32)),
        ridge.regularisation,
        torch.from_numpy(np.concatenate(left_out).astype(np.float32)),
    )


def head_inputs(model: nn.Module, images: Tensor) -> Tensor:
    """Compute what the head reads of normalised images (B, C, H, W): (B, D) float32."""
    readable: Any = model
    features: Tensor = readable.forward_head(readable.forward_features(images), pre_logits=True)
    return features.float()


def linear_head(model: nn.Module) -> nn.Linear:
    """Return the linear layer that a model's answers come from.

    Raises:
        RecipeError: The model has none, or it reads too many numbers.
    """
    readable: Any = model
    head = readable.get_classifier() if hasattr(model, "get_classifier") else None
    if not isinstance(head, nn.Linear):
        raise RecipeError(
            f"a head in closed form needs a model that ends in a linear layer; {type(model).__name__} does not: "
            "in a recipe, set head_first=false"
        )
    if head.in_features > _WIDEST:
        raise RecipeError(
            f"a head in closed form reads at most {_WIDEST:,} numbers, that of {type(model).__name__} reads "
            f"{head.in_features:,}; pool them, with model.args={{global_pool: avg}}"
        )
    return head


def set_head(model: nn.Module, head: RidgeHead) -> None:
    """Give a model a solved head, in place.

    Raises:
        RecipeError: As `linear_head`.
    """
    layer = linear_head(model)
    with torch.no_grad():
        layer.weight.copy_(head.weight)
        if layer.bias is None:
            raise RecipeError("a head in closed form needs a linear layer with a bias")
        layer.bias.copy_(head.bias)
