"""Classification losses per image."""

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

Loss = Literal["cross_entropy", "bce"]


def sample_losses(
    logits: Tensor,
    targets: Tensor,
    loss: Loss = "cross_entropy",
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Compute the loss of each image, for the caller to sum and to divide by the images of an update.

    Args:
        logits: (B, classes), taken as float32.
        targets: (B,) int64 labels, or (B, classes) probabilities.
        loss: ``cross_entropy``; or ``bce``, binary cross-entropy of every class, averaged over the classes.
        label_smoothing: Probability taken from the targets and spread over all classes alike.
        class_weights: (classes,) float32, how much an image of each class counts. Where they average to 1 over the
            training images, dividing the sum by the number of images keeps the scale of the unweighted loss.

    Returns:
        (B,) float32.
    """
    logits = logits.float()
    if loss == "cross_entropy":
        return F.cross_entropy(
            logits, targets, weight=class_weights, label_smoothing=label_smoothing, reduction="none"
        )
    classes = logits.shape[1]
    probabilities = targets.float() if targets.ndim == 2 else F.one_hot(targets, classes).float()
    if class_weights is None:
        probabilities = probabilities * (1 - label_smoothing) + label_smoothing / classes
        return F.binary_cross_entropy_with_logits(logits, probabilities, reduction="none").mean(dim=1)
    # A weight is of all terms of a class's images. As a factor of the class's own term alone, in which the images of
    # all other classes are as many as before, it would not make the class likelier.
    probabilities = probabilities * class_weights
    total = probabilities.sum(dim=1, keepdim=True)  # of each image, (B, 1)
    probabilities = probabilities * (1 - label_smoothing) + total * label_smoothing / classes
    return (total * F.softplus(logits) - probabilities * logits).mean(dim=1)
