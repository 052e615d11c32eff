"""Memories of classes on files: teach images, recall, forget, verify."""

import hashlib
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from ait.classifier import load
from ait.interpret.embedding import embed
from ait_lite.checkpoint import CONFIG, CheckpointError, bundled_models, fingerprint, resolve
from ait_lite.class_memory import (
    ClassMemory,
    Fullness,
    MemoryFolder,
    MemoryFolderError,
    Source,
    locked,
    memory_of_head,
    open_memory,
)
from ait_lite.class_memory.head import is_prior
from ait_lite.class_memory.negatives import NEGATIVE, NegativeLabels
from training.errors import DataError
from training.teaching.answers import EvidenceFile, Recalled, Taught
from training.teaching.files import LabelledFile, Progress
from training.teaching.images import embed_files, known_id


@dataclass(frozen=True)
class Verified:
    """The result of rebuilding a memory from its examples.

    Attributes:
        sound: True where everything is equal to the bit.
        digest: Of the examples, whatever their order.
        examples: Number of examples.
        fullness: How much of its capacity is in use; None of an empty memory.
        judged: How many examples can be told without themselves: those of labels that have others. Priors that the
            memory has begun with are no images, and are not judged.
        accuracy: Share of them that the memory's readout tells right when each is left out in turn; None of none, and
            where there is one label.
    """

    sound: bool
    digest: str
    examples: int
    fullness: Fullness | None
    judged: int
    accuracy: float | None


@dataclass(frozen=True)
class BoundModel:
    """What a memory keeps of its model.

    Attributes:
        name: Its folder, or the name of a bundled one.
        fingerprint: Of its weights and preprocessing.
        width: Of its feature vectors.
    """

    name: str
    fingerprint: str
    width: int


def bind_model(model: str) -> BoundModel:
    """Look up what a memory keeps of its model.

    Args:
        model: A checkpoint folder, or name of a bundled model.

    Raises:
        CheckpointError: The model cannot be used.
    """
    bound = _fingerprint(model)
    classifier = load(model)
    with torch.inference_mode():
        blank = torch.zeros(1, *classifier.data_config["input_size"], device=classifier.device)
        width = embed(classifier.model, blank).shape[1]
    return BoundModel(model if model in bundled_models() else str(resolve(model).resolve()), bound, width)


def create_memory(
    path: Path,
    model: str,
    *,
    readout: str = "ridge",
    random_features: int = 0,
    beta: float = 20.0,
    unknown_level: float = 0.01,
    from_head: bool = False,
) -> MemoryFolder:
    """Create a memory folder, bound to a model.

    Args:
        path: The folder; it must not exist.
        model: A checkpoint folder, or name of a bundled model.
        readout: One of `ait_lite.class_memory.READOUTS`.
        random_features: Number of random ReLU features that ridge may use.
        beta: Inverse temperature of both Hopfield readouts.
        unknown_level: Share of known images that may be called unknown.
        from_head: Begin with what the model's associative head knows, as `ait_lite.class_memory.memory_of_head` reads
            it; the head decides the other options then. Else the memory is empty.

    Raises:
        MemoryFolderError: There is something at `path`.
        CheckpointError: The model cannot be used, or has no such head.
        ValueError: An option is out of range.
        OSError: The folder cannot be written.
    """
    bound = bind_model(model)
    if from_head:
        memory = memory_of_head(resolve(model))
    else:
        memory = ClassMemory(
            bound.width, readout=readout, random_features=random_features, beta=beta, unknown_level=unknown_level
        )
    with locked(path):
        if path.exists():
            raise MemoryFolderError(f"{path} exists already: choose another name, or delete it.")
        begun = Source("head", "", datetime.now(UTC).isoformat("T", "seconds"))
        folder = MemoryFolder(path, memory, bound.name, bound.fingerprint, dict.fromkeys(memory.ids(), begun))
        folder.save()
    return folder


class LocalMemory:
    """A memory folder with its model, ready to be taught and asked.

    Its methods take and return what could travel over HTTP: paths, labels, identifiers and plain results.

    Args:
        path: The memory folder.
        model: Where the model is now; None is where it was when the memory was made.

    Raises:
        MemoryFolderError: The folder is no memory, is damaged, or belongs to another model.
        CheckpointError: The model cannot be loaded.
    """

    def __init__(self, path: Path, model: str | None = None) -> None:
        self.path = path
        folder = open_memory(path)
        reference = model or folder.model
        folder.require(_fingerprint(reference), reference)
        self.folder = folder
        self.classifier = load(reference)

    def teach(
        self, files: Sequence[LabelledFile], *, skip_broken: bool = False, progress: Progress | None = None
    ) -> Taught:
        """Teach labelled image files; an image that is known already is taught its new label.

        Args:
            files: The files.
            skip_broken: Leave out files that cannot be read.
            progress: Told how many images are done.

        Raises:
            DataError: A file cannot be read, or the same image has two labels. Nothing is taught then.
            MemoryFolderError: Another process is changing the memory.
            OSError: The folder cannot be written.
        """
        skipped: list[str] = []
        labels = {file.path: file.label for file in files}
        with locked(self.path):
            folder = self.folder = open_memory(self.path)
            now = datetime.now(UTC).isoformat("T", "seconds")
            chosen: dict[str, str] = {}
            sources: dict[str, Source] = {}
            vectors: dict[str, np.ndarray] = {}
            for image in embed_files(
                self.classifier,
                [file.path for file in files],
                skip_broken=skip_broken,
                progress=progress,
                on_skip=skipped.append,
            ):
                label, key = labels[image.path], known_id(image.sha256, folder.memory) or image.id
                if chosen.setdefault(key, label) != label:
                    raise DataError(
                        f"{image.path} ({label}) and {sources[key].path} ({chosen[key]}) are the same image under two "
                        "labels: remove one of them."
                    )
                sources[key] = Source(str(image.path), image.sha256, now)
                vectors[key] = image.features
            new = [key for key in chosen if key not in folder.memory]
            changed = [key for key in chosen if key in folder.memory and folder.memory.label_of(key) != chosen[key]]
            if new:
                folder.memory.write(new, np.stack([vectors[key] for key in new]), [chosen[key] for key in new])
            for key in changed:
                folder.memory.relabel(key, chosen[key])
            if new or changed:
                folder.sources |= {key: sources[key] for key in (*new, *changed)}
                folder.save()
        return Taught(
            len(new),
            len(changed),
            len(chosen) - len(new) - len(changed),
            tuple(skipped),
            len(folder.memory),
            folder.memory.counts,
        )

    def recall(
        self,
        paths: Sequence[Path],
        *,
        top_k: int = 5,
        evidence: int = 3,
        readout: str | None = None,
        progress: Progress | None = None,
    ) -> list[Recalled]:
        """Ask what image files show; one that cannot be used does not stop the others.

        Args:
            paths: The files.
            top_k: Labels per image.
            evidence: Taught images to name per image.
            readout: Readout in place of the memory's own.
            progress: Told how many images are done.

        Raises:
            ValueError: The readout is unknown.
        """
        memory = self.folder.memory
        reason = memory.unpromised
        errors: list[str] = []
        answers: dict[Path, Recalled] = {}
        embedded = list(
            embed_files(self.classifier, paths, skip_broken=True, progress=progress, on_skip=errors.append)
        )
        if not len(memory):
            answers = {image.path: Recalled(str(image.path), reason=reason) for image in embedded}
        elif embedded:
            found = memory.recall(
                np.array([image.features for image in embedded]).reshape(len(embedded), memory.dim),
                evidence=max(evidence, 1),
                readout=readout,
            )
            negatives = NegativeLabels(memory.labels)
            for image, answer in zip(embedded, found, strict=True):
                (scores,) = negatives.fold(answer.scores[None])
                order = np.argsort(-scores, kind="stable")[:top_k]
                answers[image.path] = Recalled(
                    path=str(image.path),
                    labels=tuple((negatives.labels[index], float(scores[index])) for index in order),
                    unknown=None if reason else answer.unknown,
                    reason=reason,
                    p_value=answer.p_value,
                    resolution=answer.resolution,
                    evidence=tuple(self._evidence_file(*each) for each in answer.evidence[:evidence]),
                    strongest=answer.strongest,
                    strongest_path=self._path_of(answer.strongest),
                    label_without_strongest=answer.label_without_strongest,
                )
        refused = iter(errors)
        return [answers[path] if path in answers else Recalled(str(path), error=next(refused)) for path in paths]

    def _evidence_file(self, identifier: str, label: str, similarity: float, weight: float) -> EvidenceFile:
        negative, label = label.startswith(NEGATIVE), label.removeprefix(NEGATIVE)
        weight = -weight if negative else weight
        return EvidenceFile(identifier, label, self._path_of(identifier), similarity, weight, negative)

    def _path_of(self, identifier: str | None) -> str:
        source = self.folder.sources.get(identifier or "")
        return source.path if source else ""


def forget(path: Path, *, ids: Sequence[str] = (), labels: Sequence[str] = (), files: Sequence[Path] = ()) -> int:
    """Forget examples exactly: the memory is then as if they had never been taught. Needs no model.

    Args:
        path: The memory folder.
        ids: Identifiers.
        labels: Labels of which all examples are forgotten.
        files: Image files, known by their bytes.

    Returns:
        Number of examples forgotten.

    Raises:
        MemoryFolderError: The folder is no memory, is damaged, or is being changed by another process.
        DataError: An example or label is not there. Nothing is forgotten then.
        OSError: A file cannot be read, or the folder not written.
    """
    with locked(path):
        folder = open_memory(path)
        memory = folder.memory
        by_digest = defaultdict[str, list[str]](list)  # a file may be held under several ids
        for identifier, source in folder.sources.items():
            by_digest[source.sha256].append(identifier)
        gone = dict.fromkeys(ids)
        for label in labels:
            named = [each for each in (label, unicodedata.normalize("NFC", label)) if each in memory.counts]
            if not named:
                raise DataError(f"memory {path} holds no examples of {label!r}; it knows {', '.join(memory.labels)}.")
            for each in named:
                gone |= dict.fromkeys(memory.ids(each))
        for file in files:
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            own = known_id(digest, memory)
            held = by_digest[digest] + ([] if own is None else [own])
            if not held:
                raise DataError(f"memory {path} does not hold the image {file}.")
            gone |= dict.fromkeys(held)
        unknown = [identifier for identifier in gone if identifier not in memory]
        if unknown:
            raise DataError(f"memory {path} holds no example {', '.join(unknown[:5])}.")
        memory.forget(list(gone))
        for identifier in gone:
            folder.sources.pop(identifier, None)
        folder.save()
    return len(gone)


def verify(path: Path, model: str | None = None) -> Verified:
    """Rebuild a memory from its examples and compare everything to the bit.

    Args:
        path: The memory folder.
        model: Checkpoint that must be the memory's own; None does not look at it.

    Raises:
        MemoryFolderError: The folder is no memory, is damaged, or belongs to another model.
        CheckpointError: The model cannot be read.
    """
    folder = open_memory(path)
    if model is not None:
        folder.require(_fingerprint(model), model)
    memory = folder.memory
    listed = set(folder.sources) == set(memory.ids())
    fullness = memory.fullness() if len(memory) else None
    judged, accuracy = _judge(memory)
    return Verified(memory.verify() and listed, memory.digest(), len(memory), fullness, judged, accuracy)


def _judge(memory: ClassMemory) -> tuple[int, float | None]:
    if not len(memory):
        return 0, None
    ids, scores = memory.leave_one_out(len(memory))
    own = np.array([memory.label_of(each) for each in ids])
    negatives = NegativeLabels(memory.labels)
    known = {label for label in negatives.labels if memory.counts[label] > 1}
    judged = np.array([label in known and not is_prior(each) for each, label in zip(ids, own, strict=True)])
    if not judged.any() or len(negatives.labels) < 2:
        return int(judged.sum()), None
    told = np.array(negatives.labels)[negatives.fold(scores[judged]).argmax(axis=1)]
    return int(judged.sum()), float((told == own[judged]).mean())


def _fingerprint(model: str) -> str:
    folder = resolve(model)
    if not (folder / CONFIG).is_file():
        names = ", ".join(bundled_models()) or "none"
        raise CheckpointError(f"{model} is neither a checkpoint folder nor a bundled model (there is: {names}).")
    return fingerprint(folder)
