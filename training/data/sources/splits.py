"""Validation images held out of training images, and what tells that a later split is the same."""

import hashlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import compress

import torch
from torch import Tensor

from ait_lite.wording import counted
from training.data.samples import LabelledImages
from training.errors import DataError
from training.seeds import stream

DEFAULT_FRACTION = 0.1


def split(samples: LabelledImages, fraction: float, seed: int) -> tuple[LabelledImages, LabelledImages]:
    """Hold out a share of every class: (rest, held out). A pure function of the images and the seed.

    Where an image may have several classes, a share of all images is held out, whatever their classes.

    Raises:
        DataError: A class has a single image, which cannot be on both sides.
    """
    generator = stream(seed, 0, "split")
    kept: list[int] = []
    held: list[int] = []
    if samples.targets is not None:
        if len(samples) < 2:
            raise DataError(f"{samples.origin} has {counted(len(samples), 'image')}: too few to hold one out")
        order = torch.randperm(len(samples), generator=generator).tolist()
        count = min(max(1, round(fraction * len(order))), len(order) - 1)
        return replace(samples.select(sorted(order[count:])), remarks=samples.remarks), samples.select(
            sorted(order[:count])
        )
    for label, name in enumerate(samples.classes):
        members = torch.nonzero(samples.labels == label).flatten()
        if len(members) < 2:
            raise DataError(
                f"class {name!r} in {samples.origin} has {counted(len(members), 'image')}: too few to hold one out; "
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
    """Digest each image's name, and its classes' names with its weight, if it has one, in order: (N, 2) int64.

    Kept in the state of a run for its training and its validation images, they tell whether a run that continues
    has the same ones on the same sides. Eight bytes a name, so that differences can be told image by image.
    """
    if samples.targets is None:
        named = [samples.classes[label] for label in samples.labels.tolist()]
    else:
        named = ["|".join(compress(samples.classes, row)) for row in samples.targets.tolist()]
    if samples.weights is not None:
        named = [f"{name} {weight!r}" for name, weight in zip(named, samples.weights.tolist(), strict=True)]
    digest = cache(_digest)  # images are many, classes few
    labels = [digest(name) for name in named]
    digests = b"".join(_digest(name) + label for name, label in zip(samples.names, labels, strict=True))
    found = torch.frombuffer(bytearray(digests), dtype=torch.int64) if digests else torch.empty(0, dtype=torch.int64)
    return found.view(-1, 2)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=8).digest()


@dataclass(frozen=True)
class SplitDigest:
    """What tells the images of a run, and on which side each is.

    Attributes:
        training: The `dataset_digest` of the training images, (N, 2) int64.
        validation: That of the validation images.
    """

    training: Tensor
    validation: Tensor

    @classmethod
    def of(cls, training: LabelledImages, validation: LabelledImages) -> "SplitDigest":
        """Digest the images of both sides."""
        return cls(dataset_digest(training), dataset_digest(validation))

    def sides(self) -> dict[str, Tensor]:
        """Return both by the name of their side."""
        return {"training": self.training, "validation": self.validation}


def describe_changes(training: LabelledImages, validation: LabelledImages, before: SplitDigest) -> str | None:
    """Say how the images of a run differ from those it began with; None where they are the same in the same order.

    Args:
        training: Today's.
        validation: Today's.
        before: Of the images that the run began with.
    """
    now, then = SplitDigest.of(training, validation).sides(), before.sides()
    if all(torch.equal(now[side], then[side]) for side in now):
        return None
    names = {"training": training.names, "validation": validation.names}
    known = {image: (side, label) for side, rows in then.items() for image, label in rows.tolist()}
    gone = Counter(image for rows in then.values() for image, _ in rows.tolist())
    gone.subtract(image for rows in now.values() for image, _ in rows.tolist())
    added: list[str] = []
    moved: list[str] = []
    relabelled: list[str] = []
    for side, rows in now.items():
        for name, (image, label) in zip(names[side], rows.tolist(), strict=True):
            origin = image
            if image not in known:
                # Where the folder is the label, a relabelled image has another name.
                others = (other for other in _in_other_classes(name, training.classes) if gone[other] > 0)
                origin = next(others, None)
                if origin is None:
                    added.append(name)
                    continue
                gone[origin] -= 1
            if known[origin][1] != label:
                relabelled.append(name)
            if known[origin][0] != side:
                moved.append(f"{name} from {known[origin][0]} to {side}")
    changed = "relabelled" if training.weights is None else "relabelled or weighed otherwise"
    found = [_counted(added, "new"), _counted(relabelled, changed), _counted(moved, "on the other side")]
    missing = sum(count for count in gone.values() if count > 0)
    if missing:
        found.append(f"{missing} gone or renamed")
    return "; ".join(part for part in found if part) or "the same images in another order"


def _in_other_classes(name: str, classes: Sequence[str]) -> Iterator[int]:
    """Digest the names that an image would have in the folders of the other classes."""
    folder, slash, rest = name.partition("/")
    if slash and folder in classes:
        for other in classes:
            yield int.from_bytes(_digest(f"{other}/{rest}"), sys.byteorder, signed=True)


def _counted(names: list[str], what: str) -> str:
    some = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {what} ({some})" if names else ""
