"""Validation images held out of training images, and what tells that a later split is the same."""

import hashlib
from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

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
    return replace(samples.select(sorted(kept)), remarks=samples.remarks), samples.select(sorted(held))


def choose_validation(
    train: LabelledImages, validation: LabelledImages | None, fraction: float | None, seed: int
) -> tuple[LabelledImages, LabelledImages]:
    """Choose training and validation images, held out where a fraction is asked for or there are no others.

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


def dataset_digest(samples: LabelledImages) -> Tensor:
    """Digest each image's name and class name, in order: (N,) int64.

    Kept in the state of a run for its training and its validation images, they tell whether a run that continues
    has the same ones on the same sides. Eight bytes an image, so that differences can be named.
    """
    classes = [name.encode() for name in samples.classes]
    digests = b"".join(
        hashlib.blake2b(name.encode() + b"\0" + classes[label], digest_size=8).digest()
        for name, label in zip(samples.names, samples.labels.tolist(), strict=True)
    )
    return torch.frombuffer(bytearray(digests), dtype=torch.int64) if digests else torch.empty(0, dtype=torch.int64)


def describe_changes(
    training: LabelledImages, validation: LabelledImages, old_training: Tensor, old_validation: Tensor
) -> str | None:
    """Say how the images of a run differ from those it began with; None where they are the same in the same order.

    Args:
        training: Today's.
        validation: Today's.
        old_training: The `dataset_digest` of the training images that the run began with.
        old_validation: Of the validation images.
    """
    now = {"training": dataset_digest(training), "validation": dataset_digest(validation)}
    before = {"training": old_training, "validation": old_validation}
    if all(torch.equal(now[side], before[side]) for side in now):
        return None
    names = {"training": training.names, "validation": validation.names}
    known = {digest: side for side in before for digest in before[side].tolist()}
    gone = Counter(digest for side in before for digest in before[side].tolist())
    added: list[str] = []
    moved: list[str] = []
    for side, digests in now.items():
        for name, digest in zip(names[side], digests.tolist(), strict=True):
            gone[digest] -= 1
            if digest not in known:
                added.append(name)
            elif known[digest] != side:
                moved.append(f"{name} from {known[digest]} to {side}")
    found = [_counted(added, "new"), _counted(moved, "on the other side")]
    missing = sum(count for count in gone.values() if count > 0)
    if missing:
        found.append(f"{missing} gone or renamed")
    return "; ".join(part for part in found if part) or "the same images in another order"


def _counted(names: list[str], what: str) -> str:
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {what} ({some})" if names else ""
