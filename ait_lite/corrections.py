"""Corrections of a classifier: answers to single images, added and withdrawn without touching its weights.

A gated edit (NeuralDB, arXiv 2507.18028): with features x and logits y(x) of the model, keys k_j and residuals r_j,

    y'(x) = y(x) + r_{j*} 1[cos(x - c, k_j* - c) >= gate],   j* the key most like x,

where a key is the feature vector of an image that was answered wrongly, r_j raises the logit of its right label, c is
the mean feature vector of other images, and the gate is so high that almost none of them passes it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from safetensors import SafetensorError, numpy

from ait_lite.checkpoint import CORRECTIONS, CheckpointError, atomic_file, fingerprint

FORMAT: Final = "ait-corrections-1"
_HEADER: Final = "corrections"
_SHAPES: Final = {"keys": 2, "centre": 1, "labels": 1, "boosts": 1}


class Corrected(NamedTuple):
    """Logits with corrections.

    Attributes:
        logits: Shape (b, classes).
        used: Position of the correction that was used for each image, (b,) int64; -1 where none was.
    """

    logits: np.ndarray
    used: np.ndarray


@dataclass(frozen=True)
class Corrections:
    """Corrections of one checkpoint, n of them, sorted by identifier.

    Attributes:
        ids: Identifiers of the images that they correct: SHA-256 of the files.
        paths: Where these files were.
        keys: Their feature vectors, shape (n, F), float32.
        labels: Their right labels, (n,) int64.
        boosts: What is added to the logit of the right label, shape (n,), float32.
        centre: Subtracted from feature vectors before they are compared, shape (F,), float32.
        gate: Smallest cosine at which a correction is used.
        fingerprint: Of the checkpoint (`ait_lite.checkpoint.fingerprint`).
    """

    ids: tuple[str, ...]
    paths: tuple[str, ...]
    keys: np.ndarray
    labels: np.ndarray
    boosts: np.ndarray
    centre: np.ndarray
    gate: float
    fingerprint: str

    def __len__(self) -> int:
        return len(self.ids)

    def cosines(self, features: np.ndarray) -> np.ndarray:
        """Compare feature vectors (b, F) with the keys; shape (b, n)."""
        return _directions(features - self.centre) @ _directions(self.keys - self.centre).T

    def apply(self, features: np.ndarray, logits: np.ndarray) -> Corrected:
        """Correct answers of the model.

        Args:
            features: Feature vectors of images, as `ait.interpret.embedding` gives them, shape (b, F).
            logits: The model's answers, shape (b, classes).
        """
        if not len(self) or not len(features):
            return Corrected(logits, np.full(len(features), -1))
        cosines = self.cosines(features)
        best = cosines.argmax(axis=1)
        rows = np.nonzero(np.take_along_axis(cosines, best[:, None], axis=1)[:, 0] >= self.gate)[0]
        corrected, used = logits.copy(), np.full(len(features), -1)
        corrected[rows, self.labels[best[rows]]] += self.boosts[best[rows]]
        used[rows] = best[rows]
        return Corrected(corrected, used)

    def select(self, ids: Sequence[str]) -> "Corrections":
        """Keep some of the corrections, with the gate as it is."""
        kept = set(ids)
        chosen = [index for index, identifier in enumerate(self.ids) if identifier in kept]
        return Corrections(
            tuple(self.ids[index] for index in chosen),
            tuple(self.paths[index] for index in chosen),
            self.keys[chosen],
            self.labels[chosen],
            self.boosts[chosen],
            self.centre,
            self.gate,
            self.fingerprint,
        )

    def save(self, folder: Path) -> None:
        """Write the corrections into their checkpoint's folder, atomically; none at all removes the file.

        Raises:
            OSError: The folder cannot be written to.
        """
        path = folder / CORRECTIONS
        if not len(self):
            path.unlink(missing_ok=True)
            return
        tensors: dict[str, np.ndarray] = {
            "keys": self.keys.astype(np.float32),
            "labels": self.labels.astype(np.int64),
            "boosts": self.boosts.astype(np.float32),
            "centre": self.centre.astype(np.float32),
        }
        about = {
            "format": FORMAT,
            "ids": self.ids,
            "paths": self.paths,
            "gate": self.gate,
            "fingerprint": self.fingerprint,
        }
        with atomic_file(path) as temporary:
            temporary.write_bytes(numpy.save(tensors, {_HEADER: json.dumps(about, sort_keys=True)}))


def load_corrections(folder: Path) -> Corrections | None:
    """Read the corrections in a checkpoint's folder; None if there are none.

    Raises:
        CheckpointError: The file is torn, or belongs to other weights.
    """
    path = folder / CORRECTIONS
    if not path.is_file():
        return None
    try:
        data = path.read_bytes()
        tensors = numpy.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        about: dict[str, Any] = json.loads(header["__metadata__"][_HEADER])
        if about["format"] != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        if about["fingerprint"] != fingerprint(folder):
            raise ValueError("it was made for other weights or another preprocessing")
        found = Corrections(
            tuple(map(str, about["ids"])),
            tuple(map(str, about["paths"])),
            **{name: tensors[name] for name in _SHAPES},
            gate=float(about["gate"]),
            fingerprint=str(about["fingerprint"]),
        )
        _check(found)
    except (AttributeError, KeyError, OSError, SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} cannot be used: {error}. Correct the images again with `ait correct`, or delete it."
        ) from error
    return found


def _check(found: Corrections) -> None:
    count = len(found)
    shapes = (len(found.paths), len(found.keys), found.labels.shape, found.boosts.shape, found.keys.shape[1:])
    dimensions = {name: getattr(found, name).ndim for name in _SHAPES}
    if dimensions != _SHAPES or shapes != (count, count, (count,), (count,), found.centre.shape):
        raise ValueError("its parts do not fit each other")
    if not all(np.isfinite(each).all() for each in (found.keys, found.boosts, found.centre)) or (
        found.labels.dtype != np.int64 or (found.labels < 0).any()
    ):
        raise ValueError("its numbers are out of range")


def _directions(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)
