"""Validation images held out of training images."""

import torch

from training.data.samples import LabelledImages
from training.errors import DataError
from training.seeds import stream

DEFAULT_FRACTION = 0.1


def split(samples: LabelledImages, fraction: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a share of every class: (rest, held out). A pure function of the images and the seed.

    Raises:
        DataError: A class has a single image, which cannot be on both sides.
    """
    generator = stream(seed, 0, "split")
    kept: list[int] = []
    held: list[int] = []
    for label, name in enumerate(samples.classes):
        members = torch.nonzero(samples.labels == label).flatten()
        if len(members) < 2:
            raise DataError(
                f"class {name!r} in {samples.origin} has {len(members)} images: too few to hold one out; "
                "add images, or give validation images of your own"
            )
        members = members[torch.randperm(len(members), generator=generator)]
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        held.extend(members[:count].tolist())
        kept.extend(members[count:].tolist())
    return samples.select(sorted(kept)), samples.select(sorted(held))


def choose_validation(
    train: LabelledImages, validation: LabelledImages | None, fraction: float | None, seed: int
) -> tuple[LabelledImages, LabelledImages]:
    """Training and validation images, held out where a fraction is asked for or there are no others.

    Args:
        train: All training images.
        validation: The source's own validation images; None where it has none.
        fraction: Share of each class to hold out of `train`. None: use `validation`, or hold out a tenth
            where there is none.
        seed: Decides which images are held out.

    Raises:
        DataError: As `split`.
    """
    if fraction is None and validation is not None:
        return train, validation
    return split(train, fraction or DEFAULT_FRACTION, seed)
