"""Feature vectors of image files."""

import hashlib
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch

from ait.classifier import Classifier
from ait.interpret.embedding import embed_and_classify
from ait_lite.images.errors import ImageError
from training.errors import DataError
from training.teaching.files import Progress

_ID_DIGITS: Final = 32  # of the SHA-256 in hexadecimal, as the service names examples
_EARLIER_ID_DIGITS: Final = 16  # of memories that were taught before
_NAMED_PROBLEMS: Final = 5


@dataclass(frozen=True)
class EmbeddedFile:
    """What a model makes of an image file.

    Attributes:
        path: The file.
        sha256: Of its bytes, in hexadecimal.
        features: Feature vector, shape (F,), float64.
        logits: The model's answer, shape (classes,), float64.
    """

    path: Path
    sha256: str
    features: np.ndarray
    logits: np.ndarray

    @property
    def id(self) -> str:
        """Identifier of the image: the same bytes have the same, wherever they lie."""
        return self.sha256[:_ID_DIGITS]


def known_id(sha256: str, known: Container[object]) -> str | None:
    """Find the identifier that an image has among others, of which some may be of an earlier length.

    Args:
        sha256: Of its bytes, in hexadecimal.
        known: Identifiers of images.

    Returns:
        Its identifier; None if it is not among them.
    """
    own = (sha256[:digits] for digits in (_ID_DIGITS, _EARLIER_ID_DIGITS))
    return next((each for each in own if each in known), None)


def embed_files(
    classifier: Classifier,
    paths: Sequence[Path],
    *,
    skip_broken: bool = False,
    progress: Progress | None = None,
    on_skip: Callable[[str], None] | None = None,
) -> Iterator[EmbeddedFile]:
    """Run a model on image files, batch by batch.

    Args:
        classifier: The model.
        paths: The files.
        skip_broken: Leave out files that cannot be read or decoded, instead of refusing all.
        progress: Told after each batch.
        on_skip: Told why a file is left out; without it, a refusal does not offer that.

    Yields:
        One entry per file, in their order, without those left out.

    Raises:
        DataError: A file cannot be read or decoded.
    """
    size = classifier.batch_size
    broken: list[str] = []
    for start in range(0, len(paths), size):
        part: list[tuple[Path, bytes, torch.Tensor]] = []
        for path in paths[start : start + size]:
            try:
                data = path.read_bytes()
                part.append((path, data, classifier.pixels([data])))
            except (ImageError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                broken.append(f"{path}: {reason}")
                if on_skip is not None:
                    on_skip(broken[-1])
        if broken and not skip_broken:
            named = "; ".join(broken[:_NAMED_PROBLEMS])
            skip = "" if on_skip is None else ", or leave it out with --skip-broken"
            raise DataError(f"{named.removesuffix('.')}. Repair or remove what cannot be read{skip}.")
        if part:
            with torch.inference_mode():
                features, logits = embed_and_classify(classifier.model, torch.cat([pixels for _, _, pixels in part]))
            rows = features.double().cpu().numpy(), logits.double().cpu().numpy()
            for (path, data, _), vector, answer in zip(part, *rows, strict=True):
                yield EmbeddedFile(path, hashlib.sha256(data).hexdigest(), vector, answer)
        if progress is not None:
            progress(min(start + size, len(paths)), len(paths))
