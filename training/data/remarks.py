"""What a person should know of the images of a run before it spends hours on them."""

from torch import Tensor

from training.data.duplicates import describe_duplicates, find_duplicates
from training.data.preprocessing import Preprocessing
from training.data.samples import LabelledImages

_FEW = 200  # images of a class, from which random weights learn little but the images themselves
# Normalised images have a deviation of about 1. Of those that are nearly black all over, with a few white points,
# nothing was learnt at 0.3, and from the first epoch at 1.
_LEAST_DEVIATION = 0.4
_MOST_DEVIATION = 4.0


def remarks_on(training: LabelledImages, validation: LabelledImages, random_weights: bool) -> list[str]:
    """Say what will make a run's accuracy low, or look better than it is, a line each.

    Args:
        training: With their signatures, where they have any.
        validation: Likewise.
        random_weights: Whether the model starts from nothing.
    """
    lines = []
    if training.signatures is not None and validation.signatures is not None:
        found = find_duplicates(training.signatures, validation.signatures)
        line = describe_duplicates(found, training.names, validation.names)
        if line is not None:
            lines.append(line)
    counts = training.labels.bincount(minlength=len(training.classes))
    few = int((counts < _FEW).sum())
    if random_weights and few:
        lines.append(
            f"{few} of {len(counts)} classes have fewer than {_FEW} training images (the smallest "
            f"{int(counts.min())}), too few to learn from random weights: fine-tune instead, with "
            "model.pretrained=auto or model.checkpoint=FOLDER"
        )
    return lines


def remark_on_scale(images: Tensor, preprocessing: Preprocessing) -> str | None:
    """Say that images are far from the statistics by which they are normalised; None where they are not.

    Args:
        images: Some of those to learn from, (n, C, H, W) uint8.
        preprocessing: How they become the model's input.
    """
    values = images.float().div(255).movedim(1, 0).flatten(1)  # (C, n * H * W)
    overall = float(values.std(correction=0))
    if not overall:
        return None
    deviation = float(preprocessing.normalise(images).std(correction=0))
    if _LEAST_DEVIATION <= deviation <= _MOST_DEVIATION:
        return None
    # A channel that is the same all over is scaled as the others are.
    own = [value or overall for value in values.std(1, correction=0).tolist()]
    means, deviations = ("[" + ",".join(f"{value:.3g}" for value in each) + "]" for each in (values.mean(1), own))
    return (
        f"the images' values deviate by {deviation:.2g} as a model sees them, where 1 is usual; it may learn little: "
        f"set data.mean={means} data.std={deviations}"
    )
