"""What a person should know of the images of a run before it spends hours on them."""

from training.data.duplicates import describe_duplicates, find_duplicates
from training.data.samples import LabelledImages

_FEW = 200  # images of a class, from which random weights learn little but the images themselves


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
