"""Measure what a checkpoint's features give: memories of classes taught with them, beside the model's own head."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ait.classifier import Classifier
from ait_lite.checkpoint import read_config
from ait_lite.class_memory import READOUTS, ClassMemory
from training.data import LabelledImages, open_evaluation
from training.data.sources.folder import Layout, find_splits, require_classes, scan_folder, validation_folder
from training.data.sources.opening import open_training
from training.errors import CheckpointError, DataError
from training.evaluation.comparison.paired import Difference, paired_difference
from training.evaluation.evaluate import known_labels
from training.evaluation.exemplars import choose_exemplars
from training.evaluation.metrics import Interval, wilson_interval
from training.storage.model_folder import load_model
from training.teaching.files import Progress
from training.teaching.images import EmbeddedFile, embed_files
from training.teaching.readouts import read_labels

_PART: Final = 1024  # images whose features are held before the memory has them, or is asked
_NAMED: Final = 5


@dataclass(frozen=True)
class Share:
    """How often something is right.

    Attributes:
        accuracy: Share of the images.
        interval: 95 % confidence interval of it, as if the images were drawn at random.
    """

    accuracy: float
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        """Return the figures as values that JSON can hold."""
        return {"accuracy": self.accuracy, "interval": list(self.interval)}


@dataclass(frozen=True)
class ReadoutResult:
    """What one readout of the memory gives.

    Attributes:
        readout: Its name.
        share: How often it is right.
        against_head: The model's own head and the readout, the second, on the same images; None without a head that
            knows their classes.
    """

    readout: str
    share: Share
    against_head: Difference | None

    def to_json(self) -> dict[str, Any]:
        """Return the result as values that JSON can hold."""
        compared = self.against_head and self.against_head.to_json()
        return {"readout": self.readout} | self.share.to_json() | {"against_head": compared}


@dataclass(frozen=True)
class ReadoutComparison:
    """The readouts of one memory, beside the head.

    Attributes:
        examples: Images that the memory was taught.
        classes: Classes that it was taught.
        images: Images that it was asked about.
        random_features: Random features that ridge found to have the smaller leave-one-out error; 0 where it reads the
            features themselves; None where ridge was not asked.
        head: How often the model's own head is right; None where it does not know the images' classes.
        reason: Why there is no head to compare with; empty if there is.
        readouts: What each gives.
    """

    examples: int
    classes: int
    images: int
    random_features: int | None
    head: Share | None
    reason: str
    readouts: tuple[ReadoutResult, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as values that JSON can hold."""
        return {
            "examples": self.examples,
            "classes": self.classes,
            "images": self.images,
            "random_features": self.random_features,
            "head": self.head and self.head.to_json(),
            "reason": self.reason,
            "readouts": [each.to_json() for each in self.readouts],
        }


def compare_readouts(
    checkpoint: str | Path,
    data_root: str | Path,
    readouts: Sequence[str] = READOUTS,
    *,
    per_class: int | None = None,
    random_features: int = 0,
    layout: Layout = "auto",
    only: str | Path | None = None,
    device: torch.device | str | None = None,
    progress: Progress | None = None,
) -> ReadoutComparison:
    """Teach a memory of classes the training images of a folder, and ask it about the test images.

    The features are those that `ait memory` and the service store. Every image is run through the model once.

    Args:
        checkpoint: timm ``local-dir`` folder, such as a run's ``best``.
        data_root: Holds ``train/``, and ``val/`` or ``test/``.
        readouts: Which to measure.
        per_class: Examples of a class at most, chosen at random but the same ones every time; None takes all.
        random_features: Random ReLU features that ridge may read in place of the features themselves, where their
            leave-one-out error is smaller.
        layout: As a recipe's ``data.layout``.
        only: A text file of the names of the images to ask about, one a line, such as a run's ``validation.txt``.
            Those among the training images are not taught then, and no other split is needed.
        device: Where to compute; None takes an accelerator where there is one.
        progress: Told how many images have been run through the model.

    Raises:
        CheckpointError: The folder is no checkpoint, its weights are torn, it holds a graph without weights, or gives
            features that no memory can keep.
        DataError: The data folder cannot be used, or lacks examples of a class that is asked about.
    """
    examples, asked = _open(data_root, layout, only)
    if per_class is not None:
        examples = examples.select(choose_exemplars(examples.labels, per_class, seed=0).tolist())
    classifier = _load(Path(checkpoint), device)
    files = [samples.file(index) for samples in (examples, asked) for index in range(len(samples))]
    embedded = embed_files(classifier, files, progress=progress)
    memory = _teach(_parts(embedded, len(examples), checkpoint), examples, random_features)
    said, best = _ask(_parts(embedded, None, checkpoint), memory, readouts)

    labels = _labels(asked)
    right = {
        readout: torch.tensor([answer == label for answer, label in zip(answers, labels, strict=True)])
        for readout, answers in said.items()
    }
    head, reason = _head_right(classifier, best, asked)
    return ReadoutComparison(
        examples=len(examples),
        classes=len(memory.labels),
        images=len(asked),
        random_features=_random_features(memory) if "ridge" in said else None,
        head=None if head is None else _share(head),
        reason=reason,
        readouts=tuple(
            ReadoutResult(readout, _share(each), None if head is None else paired_difference(head, each))
            for readout, each in right.items()
        ),
    )


class _Part(NamedTuple):
    """What the model makes of some images: features (n, F), and the class that its head answers each with."""

    features: np.ndarray
    best: list[int]


def _open(root: str | Path, layout: Layout, only: str | Path | None) -> tuple[LabelledImages, LabelledImages]:
    """Open the images to teach and those to ask about."""
    if only is None:
        splits = find_splits(Path(root), layout)
        held_out = validation_folder(splits)
        if "train" not in splits or held_out is None:
            lacking = "val or test folder to ask about" if "train" in splits else "train folder to teach"
            raise DataError(
                f"{root} has no {lacking}: a memory is taught the images in train and asked about those in val or "
                "test; or list images to ask about (--only), and it is taught the others"
            )
        examples, asked = scan_folder(splits["train"]), scan_folder(held_out)
    else:
        asked = open_evaluation("folder", root, only, layout)
        examples = open_training("folder", root, layout=layout)
        if examples.origin == asked.origin:
            examples = open_training("folder", root, only, layout)
    require_classes(examples)
    without = sorted(set(_labels(asked)) - set(_labels(examples)))
    if without:
        raise DataError(
            f"{examples.origin} holds no example to teach of classes that {asked.origin} asks about: "
            f"{', '.join(without[:_NAMED])}"
        )
    return examples, asked


def _load(folder: Path, device: torch.device | str | None) -> Classifier:
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    try:
        return Classifier(load_model(folder).to(place), read_config(folder))
    except CheckpointError:
        raise
    except ValueError as error:  # of images of other channels
        raise CheckpointError(f"checkpoint {folder}: {error}") from error


def _parts(embedded: Iterator[EmbeddedFile], count: int | None, checkpoint: str | Path) -> Iterator[_Part]:
    """Run the next `count` images, or all that are left, through the model as they are wanted.

    Raises:
        CheckpointError: A memory cannot keep the features of one.
    """
    wanted = islice(embedded, count)
    while files := list(islice(wanted, _PART)):
        for each in files:
            if not (np.isfinite(each.features).all() and each.features.any()):
                raise CheckpointError(
                    f"the model in {checkpoint} gives {each.path} features that no memory can keep: they are not "
                    "finite, or all zero"
                )
        yield _Part(np.stack([each.features for each in files]), [int(each.logits.argmax()) for each in files])


def _teach(parts: Iterator[_Part], examples: LabelledImages, random_features: int) -> ClassMemory:
    labels = _labels(examples)
    memory: ClassMemory | None = None
    taught = 0
    for part in parts:
        if memory is None:
            memory = ClassMemory(part.features.shape[1], random_features=random_features)
        several = slice(taught, taught + len(part.features))
        memory.write(examples.names[several], part.features, labels[several])
        taught = several.stop
    assert memory is not None  # there are examples of two classes at least
    return memory


def _ask(
    parts: Iterator[_Part], memory: ClassMemory, readouts: Sequence[str]
) -> tuple[dict[str, list[str]], list[int]]:
    """Ask for the label of each image by each readout, and note the class that the head answers with."""
    said: dict[str, list[str]] = {readout: [] for readout in readouts}
    best: list[int] = []
    for part in parts:
        for readout, labels in said.items():
            labels += read_labels(memory, part.features, readout)
        best += part.best
    return said, best


def _head_right(classifier: Classifier, best: Sequence[int], asked: LabelledImages) -> tuple[Tensor | None, str]:
    """Tell where the head is right, (N,) bool; or None, and why it cannot be compared."""
    if classifier.multi_label:
        return None, "the model's head tells any number of classes an image"
    try:
        labels = known_labels(asked, classifier.model, "the model's head")
    except DataError as error:
        return None, str(error)
    return torch.tensor(best) == labels, ""


def _random_features(memory: ClassMemory) -> int:
    """Return how many random features ridge reads; it goes over all examples only where there are any."""
    return memory.fullness().random_features if memory.random_features else 0


def _labels(samples: LabelledImages) -> list[str]:
    """Name the class of each image."""
    return [samples.classes[code] for code in samples.labels.tolist()]


def _share(right: Tensor) -> Share:
    count = int(right.sum())
    return Share(count / len(right), wilson_interval(count, len(right)))
