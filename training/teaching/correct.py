"""Correct single answers of a classifier, within what validation images allow."""

import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ait.classifier import Classifier, load
from ait_lite.checkpoint import atomic_folder, fingerprint
from ait_lite.corrections import Corrections, load_corrections
from training.data.sources.folder import Layout
from training.data.sources.opening import open_evaluation
from training.errors import CheckpointError, DataError, OutputError
from training.evaluation.annotate import check_target
from training.teaching.files import LabelledFile, Progress
from training.teaching.images import EmbeddedFile, embed_files

WRONG_FIRES: Final = 0.001  # share of validation images that may meet a correction to another label
_MARGIN: Final = 1.0  # logit by which the right label stands above the others
_LOWEST_GATE: Final = 0.9  # where there are too few validation images to tell
_HIGHEST_GATE: Final = 0.9995  # a correction must still know its own image after rounding


@dataclass(frozen=True)
class CorrectionReport:
    """What correcting did.

    Attributes:
        added: Images whose answer is corrected now, and was not before.
        already_right: Images that the model answers rightly by itself.
        refused: Images that cannot be told from validation images with another label, with the reason.
        corrections: Corrections in the checkpoint now.
        holding: Share of the images asked for, wrong by themselves, that are answered rightly now.
        gate: Smallest cosine at which a correction is used.
        validation_images: Images that the gate was not fitted to, on which accuracy is measured.
        accuracy_before: Accuracy on these, without corrections.
        accuracy_after: Accuracy on these, with them.
        fired: Share of these that meet any correction.
    """

    added: int
    already_right: int
    refused: tuple[str, ...]
    corrections: int
    holding: float
    gate: float
    validation_images: int
    accuracy_before: float
    accuracy_after: float
    fired: float

    def to_json(self) -> dict[str, Any]:
        """Return the same as what JSON can hold."""
        return asdict(self)


def correct(
    checkpoint: Path,
    wrong: Sequence[LabelledFile],
    data: Path,
    *,
    output: Path | None = None,
    only: Path | None = None,
    layout: Layout = "auto",
    progress: Progress | None = None,
) -> CorrectionReport:
    """Correct a checkpoint's answers to images that it gets wrong.

    The checkpoint gets a file of corrections; its weights stay as they are. The gate is fitted to half of the
    validation images, so that at most `WRONG_FIRES` of them meet a correction to a label that is not theirs, and
    accuracy is measured on the other half.

    Args:
        checkpoint: The checkpoint folder.
        wrong: Image files with their right labels.
        data: Validation images: class folders, or a folder with ``val/`` or ``test/`` in it.
        output: Folder for a corrected copy; None corrects the checkpoint in place.
        only: Text file that lists the validation images to use.
        layout: What the folders in `data` are, as a recipe's ``data.layout``.
        progress: Told how many images have been run through the model.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        DataError: Images cannot be used, or have labels that the model does not know.
        OutputError: There is something at `output`.
        OSError: The checkpoint cannot be written to.
    """
    if output is not None and output.exists():
        raise OutputError(f"{output} exists already: choose another folder")
    check_target(checkpoint, output)
    try:
        classifier = load(checkpoint)
    except FileNotFoundError as error:
        raise CheckpointError(str(error)) from error
    samples = open_evaluation("folder", data, only, layout)
    codes = _codes(classifier, [*samples.classes, *(file.label for file in wrong)])
    paths = [samples.file(index) for index in range(len(samples))]
    seen = list(embed_files(classifier, [*(file.path for file in wrong), *paths], progress=progress))
    asked, others = seen[: len(wrong)], seen[len(wrong) :]
    truth = np.array([codes[samples.classes[code]] for code in samples.labels.tolist()])
    validation = _Validation(_features(others), np.stack([each.logits for each in others]), truth)
    fitted, measured = validation.split()

    before = load_corrections(checkpoint)
    labels = {each.sha256: codes[file.label] for file, each in zip(wrong, asked, strict=True)}
    new, right = _edits(asked, labels, fitted.features.mean(axis=0), fingerprint(checkpoint))
    joined = _join(before, new, fitted.features.mean(axis=0))
    kept, refused = _without_conflicts(joined, fitted)
    kept = replace(kept, gate=fit_gate(kept, fitted.features, fitted.labels))
    if output is not None:
        with atomic_folder(output) as copy:
            shutil.copytree(checkpoint, copy, dirs_exist_ok=True)
    kept.save(output or checkpoint)
    known = set(before.ids) if before else set()
    return CorrectionReport(
        added=len(set(kept.ids) - known),
        already_right=right,
        refused=refused,
        corrections=len(kept),
        holding=_holding(kept, asked, labels),
        **measured.report(kept),
        gate=kept.gate,
    )


def withdraw(checkpoint: Path, files: Sequence[Path] = ()) -> int:
    """Withdraw corrections; with all of them withdrawn, the checkpoint is to the byte what it was before.

    Args:
        checkpoint: The checkpoint folder.
        files: Images whose corrections are withdrawn, known by their bytes; none means all. The gate of those that
            stay is not fitted anew.

    Returns:
        Number of corrections withdrawn.

    Raises:
        CheckpointError: The corrections cannot be read.
        DataError: An image has no correction. Nothing is withdrawn then.
        OSError: A file cannot be read, or the checkpoint not written to.
    """
    found = load_corrections(checkpoint)
    if found is None:
        raise DataError(f"{checkpoint} has no corrections.")
    gone = set(found.ids)
    if files:
        digests = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
        unknown = [str(file) for file, digest in digests.items() if digest not in gone]
        if unknown:
            raise DataError(f"{checkpoint} has no correction of {', '.join(unknown[:5])}.")
        gone = set(digests.values())
    found.select([identifier for identifier in found.ids if identifier not in gone]).save(checkpoint)
    return len(gone)


def fit_gate(corrections: Corrections, features: np.ndarray, labels: np.ndarray) -> float:
    """Find the lowest gate that at most `WRONG_FIRES` of some images pass towards a label that is not theirs.

    Args:
        corrections: Their own gate is not looked at.
        features: Feature vectors of the images, shape (n, F).
        labels: Their labels, (n,) int64.
    """
    if not len(corrections):
        return _HIGHEST_GATE
    cosines = corrections.cosines(features)
    best = cosines.argmax(axis=1)
    wrong = np.sort(cosines[np.arange(len(best)), best][corrections.labels[best] != labels])[::-1]
    allowed = int(WRONG_FIRES * len(labels))
    if len(wrong) <= allowed:
        return _LOWEST_GATE
    return float(np.clip(np.nextafter(wrong[allowed], np.float64(2.0)), _LOWEST_GATE, _HIGHEST_GATE))


@dataclass(frozen=True)
class _Validation:
    """Features (n, F), logits (n, classes) and labels (n,) of validation images."""

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray

    def split(self) -> "tuple[_Validation, _Validation]":
        """Part the images into every second one and the others; a single image stands for both."""
        if len(self.labels) < 2:
            return self, self
        first, second = (
            _Validation(self.features[start::2], self.logits[start::2], self.labels[start::2]) for start in (0, 1)
        )
        return first, second

    def report(self, corrections: Corrections) -> dict[str, Any]:
        corrected = corrections.apply(self.features, self.logits)
        return {
            "validation_images": len(self.labels),
            "accuracy_before": float((self.logits.argmax(1) == self.labels).mean()),
            "accuracy_after": float((corrected.logits.argmax(1) == self.labels).mean()),
            "fired": float((corrected.used >= 0).mean()),
        }


def _codes(classifier: Classifier, names: Sequence[str]) -> dict[str, int]:
    codes = {name: index for index, name in enumerate(classifier.labels)}
    unknown = sorted({name for name in names if name not in codes})
    if unknown:
        raise DataError(f"the model does not know {', '.join(unknown[:5])}; it knows {', '.join(classifier.labels)}")
    return codes


def _features(images: Sequence[EmbeddedFile]) -> np.ndarray:
    return np.stack([each.features for each in images])


def _edits(
    images: Sequence[EmbeddedFile], labels: dict[str, int], centre: np.ndarray, bound: str
) -> tuple[Corrections, int]:
    """Make corrections of the images that are answered wrongly; count the others."""
    wrong = {each.sha256: each for each in images if int(each.logits.argmax()) != labels[each.sha256]}
    ids = sorted(wrong)
    chosen = [wrong[identifier] for identifier in ids]
    boosts = [float(each.logits.max() - each.logits[labels[each.sha256]]) + _MARGIN for each in chosen]
    made = Corrections(
        tuple(ids),
        tuple(str(each.path) for each in chosen),
        np.array([each.features for each in chosen], np.float32).reshape(len(chosen), len(centre)),
        np.array([labels[identifier] for identifier in ids], np.int64),
        np.array(boosts, np.float32),
        centre.astype(np.float32),
        _HIGHEST_GATE,
        bound,
    )
    return made, sum(each.sha256 not in wrong for each in images)


def _join(before: Corrections | None, new: Corrections, centre: np.ndarray) -> Corrections:
    """Add new corrections to those there are; of an image that has one, the new one counts."""
    if before is None:
        return new
    old = before.select([identifier for identifier in before.ids if identifier not in set(new.ids)])
    order = np.argsort(np.array([*old.ids, *new.ids]), kind="stable")
    ids, paths = [*old.ids, *new.ids], [*old.paths, *new.paths]
    return replace(
        new,
        ids=tuple(ids[index] for index in order),
        paths=tuple(paths[index] for index in order),
        keys=np.concatenate([old.keys, new.keys])[order],
        labels=np.concatenate([old.labels, new.labels])[order],
        boosts=np.concatenate([old.boosts, new.boosts])[order],
        centre=centre.astype(np.float32),
    )


def _without_conflicts(joined: Corrections, validation: _Validation) -> tuple[Corrections, tuple[str, ...]]:
    """Leave out corrections that validation images with other labels would pass at any gate."""
    if not len(joined):
        return joined, ()
    cosines = np.where(joined.labels[None] == validation.labels[:, None], -1.0, joined.cosines(validation.features))
    conflicting = cosines.max(axis=0) >= _HIGHEST_GATE
    refused = tuple(
        f"{path}: a validation image with another label has the same features"
        for path, bad in zip(joined.paths, conflicting, strict=True)
        if bad
    )
    return joined.select([each for each, bad in zip(joined.ids, conflicting, strict=True) if not bad]), refused


def _holding(corrections: Corrections, images: Sequence[EmbeddedFile], labels: dict[str, int]) -> float:
    """Compute the share of the images asked for, wrong by themselves, that are answered rightly now."""
    wrong = [each for each in images if int(each.logits.argmax()) != labels[each.sha256]]
    if not wrong:
        return 1.0
    corrected = corrections.apply(_features(wrong), np.stack([each.logits for each in wrong]))
    return float((corrected.logits.argmax(1) == np.array([labels[each.sha256] for each in wrong])).mean())
