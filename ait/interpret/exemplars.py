"""Training images that stand for their classes, kept beside a checkpoint to explain its answers by example.

``exemplars.safetensors`` holds of every image the model's features and logits (float16), its label, and a small
thumbnail (JPEG); the header holds, as JSON, the names and the digest of the weights that all this was computed with.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Final

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from ait_lite.checkpoint import EXEMPLARS, WEIGHTS, atomic_file

FORMAT: Final = "ait-exemplars-1"
# Most bytes of a file, by which there are fewer images a class where there are very many classes.
MOST_BYTES: Final = 32_000_000
THUMBNAIL_SIDE: Final = 64
_HEADER = "exemplars"
_THUMBNAIL_BYTES = 4096  # more than a 64-pixel JPEG of this quality takes, but for noise
_QUALITY = 90
_SMALLEST_DEVIATION = 1e-6


class ExemplarError(ValueError):
    """An exemplar file that cannot be used; the message names it and the remedy."""


@dataclass(frozen=True)
class Neighbour:
    """An exemplar that resembles an image.

    Attributes:
        index: Its position in the file.
        similarity: From -1 to 1, the largest where the model cannot tell the two apart.
    """

    index: int
    similarity: float


@dataclass(frozen=True)
class Exemplars:
    """Training images, N of them, as a model sees them.

    Attributes:
        features: Feature vectors (`ait.interpret.embedding.embed`), shape (N, F).
        logits: The model's answers, shape (N, classes).
        labels: The class that each image has in the training data, (N,) int64.
        names: Where each image comes from, unique.
        thumbnails: Each image as a JPEG file of at most 64 pixels a side.
        sizes: (width, height) of each thumbnail.
    """

    features: Tensor
    logits: Tensor
    labels: Tensor
    names: tuple[str, ...]
    thumbnails: tuple[bytes, ...]
    sizes: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    def nearest(self, features: Tensor, logits: Tensor, label: int, count: int) -> list[Neighbour]:
        """Find the exemplars of a class that the model takes to be most like an image, the most similar first.

        The similarity is the mean of two cosines: of the features, which say what the image looks like to the
        model, and of the logits, which say what it takes it for; every number is first standardised over all
        exemplars. Features alone find neighbours of the same class less often (for the bundled CIFAR-10 model 41 %
        against 66 % of the five nearest of 320), logits alone find images that look different (an image's mirror
        image is the nearest of its class for 82 % against 99 %).

        Args:
            features: The image's, shape (F,).
            logits: The image's, shape (classes,).
            label: The class to look in.
            count: Neighbours at most; there are fewer where the class has fewer exemplars.
        """
        members = (self.labels == label).nonzero().flatten()
        similarity = (
            self._by_features.cosines(features.cpu(), members)
            + self._by_logits.cosines(_centred(logits.cpu()), members)
        ) / 2
        order = similarity.argsort(descending=True, stable=True)[:count].tolist()
        return [Neighbour(int(members[place]), float(similarity[place])) for place in order]

    @cached_property
    def _by_features(self) -> "_Space":
        return _Space.of(self.features)

    @cached_property
    def _by_logits(self) -> "_Space":
        return _Space.of(_centred(self.logits))

    def save(self, folder: Path) -> Path:
        """Write the file into a checkpoint's folder, atomically; the folder's weights are those it belongs to.

        Raises:
            OSError: It cannot be written.
        """
        bounds = torch.tensor([0, *(len(thumbnail) for thumbnail in self.thumbnails)]).cumsum(0)
        tensors = {
            "features": _half(self.features),
            "logits": _half(_centred(self.logits)),
            "labels": self.labels.int(),
            "thumbnails": torch.frombuffer(bytearray(b"".join(self.thumbnails)), dtype=torch.uint8),
            "thumbnail_bounds": bounds.int(),
            "thumbnail_sizes": torch.tensor(self.sizes, dtype=torch.int32),
        }
        about = json.dumps({"format": FORMAT, "names": self.names, "weights": _digest(folder / WEIGHTS)})
        # One entry, because safetensors writes several in any order, and the file would not be the same each time.
        metadata = {_HEADER: about}
        path = folder / EXEMPLARS
        with atomic_file(path) as temporary:
            save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, temporary, metadata=metadata)
        return path


def load_exemplars(folder: Path) -> Exemplars | None:
    """Read the exemplars in a checkpoint's folder; None if there are none.

    Raises:
        ExemplarError: The file is torn, of another format, or was made with other weights.
    """
    path = folder / EXEMPLARS
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_HEADER, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        if about.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
        if about.get("weights") != _digest(folder / WEIGHTS):
            raise ValueError(f"it was made with other weights than those in {WEIGHTS}")
        return _unpack(tensors, tuple(about["names"]))
    except (AttributeError, KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise ExemplarError(
            f"{path} cannot be used: {error}; make it anew with `ait exemplars`, or delete it"
        ) from error


def per_class(wanted: int, classes: int, width: int) -> int:
    """Images a class that keep a file within `MOST_BYTES`, at most `wanted`; 0 if there are too many classes.

    Args:
        wanted: Images a class, if there is room.
        classes: Number of classes.
        width: Numbers in a feature vector.
    """
    return min(wanted, MOST_BYTES // (classes * (2 * width + 2 * classes + _THUMBNAIL_BYTES)))


def thumbnail(image: Tensor) -> tuple[bytes, tuple[int, int]]:
    """Shrink an image; give it as a JPEG file, and its (width, height).

    Args:
        image: (C, H, W) uint8; of more than three channels, the first three are shown.
    """
    channels = image[:3] if len(image) >= 3 else image[:1]
    small = Image.fromarray(channels.permute(1, 2, 0).contiguous().squeeze(2).cpu().numpy())
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
    file = BytesIO()
    small.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue(), small.size


@dataclass(frozen=True)
class _Space:
    """Vectors to compare others with, each number standardised over all of them.

    Attributes:
        mean: (F,).
        factor: (F,), 1 over the standard deviation; 0 for a number that is the same for all, and says nothing.
        rows: (N, F), standardised, of length 1.
    """

    mean: Tensor
    factor: Tensor
    rows: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> "_Space":
        vectors = vectors.float()
        mean, deviation = vectors.mean(0), vectors.std(0, correction=0)
        factor = torch.where(deviation > _SMALLEST_DEVIATION, 1 / deviation, 0.0)
        return cls(mean, factor, F.normalize((vectors - mean) * factor, dim=1))

    def cosines(self, vector: Tensor, members: Tensor) -> Tensor:
        """Cosines (n,) of a vector (F,) with some of the rows, (n,) int64."""
        return self.rows[members] @ F.normalize((vector.float() - self.mean) * self.factor, dim=0)


def _centred(logits: Tensor) -> Tensor:
    """Logits of mean zero: what all classes have in common says nothing."""
    return logits.float() - logits.float().mean(-1, keepdim=True)


def _half(values: Tensor) -> Tensor:
    largest = torch.finfo(torch.float16).max
    return values.float().clamp(-largest, largest).half()


def _unpack(tensors: dict[str, Tensor], names: Sequence[str]) -> Exemplars:
    features, logits, labels = tensors["features"].float(), tensors["logits"].float(), tensors["labels"].long()
    bounds, sizes = tensors["thumbnail_bounds"].tolist(), tensors["thumbnail_sizes"].tolist()
    data = tensors["thumbnails"].numpy().tobytes()
    count = len(names)
    shapes = (features.ndim, logits.ndim, len(features), len(logits), labels.shape, len(bounds), len(sizes))
    if shapes != (2, 2, count, count, (count,), count + 1, count) or bounds != sorted({*bounds}):
        raise ValueError("its parts do not fit each other")
    if bounds[0] != 0 or bounds[-1] != len(data) or not (features.isfinite().all() and logits.isfinite().all()):
        raise ValueError("its parts do not fit each other")
    return Exemplars(
        features,
        logits,
        labels,
        tuple(str(name) for name in names),
        tuple(data[start:end] for start, end in pairwise(bounds)),
        tuple((int(width), int(height)) for width, height in sizes),
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
