"""All images of a data folder, as a model sees them."""

from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from ait.interpret.embedding import embed_and_classify
from ait_lite.checkpoint import named_labels, read_config, read_temperature
from training.data import LabelledImages, Preprocessing, decode
from training.data.sources.folder import Layout, find_splits, scan_folder
from training.evaluation.evaluate import known_labels
from training.evaluation.scoring import evaluation_rows
from training.storage.model_folder import load_model


@dataclass(frozen=True)
class SeenImages:
    """Images of all splits of a data folder, one split after the other, N together.

    Attributes:
        parts: The images of each split, by its name.
        classes: Class names of the model.
        split: Which split each image is in, (N,) int64.
        labels: Class of each image in the data, (N,) int64, by the model's index.
        features: Feature vectors of length 1, shape (N, F).
        mirrored: The same of the mirrored images, shape (N, F).
        probabilities: The model's answers, shape (N, classes).
        signatures: Digest and thumbnail of each image (`training.data.duplicates`), (N, S) uint8.
    """

    parts: dict[str, LabelledImages]
    classes: tuple[str, ...]
    split: Tensor
    labels: Tensor
    features: Tensor
    mirrored: Tensor
    probabilities: Tensor
    signatures: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits, in their order."""
        return tuple(self.parts)

    def locate(self, index: int) -> tuple[LabelledImages, int]:
        """Find the split of an image, and its place there."""
        for samples in self.parts.values():
            if index < len(samples):
                return samples, index
            index -= len(samples)
        raise IndexError(index)

    def path(self, index: int) -> str:
        """Return where an image lies."""
        samples, place = self.locate(index)
        return str(samples.file(place))

    def label(self, index: int) -> str:
        """Return the name of the class that an image has in the data."""
        return self.classes[int(self.labels[index])]

    def image(self, index: int) -> Image.Image:
        """Read an image.

        Raises:
            OSError, ait_lite.images.decode.ImageError: It cannot be read any more.
        """
        samples, place = self.locate(index)
        return samples.image(place)


def see_images(
    checkpoint: Path,
    data: Path,
    *,
    device: torch.device,
    layout: Layout = "auto",
    cache: Path | None = None,
    console: Console | None = None,
) -> SeenImages:
    """Run a model on every image of every split of a data folder, and on its mirror image.

    Args:
        checkpoint: The checkpoint folder.
        data: Holds ``train/`` and ``val/`` or ``test/``; or class folders directly, which are one split then.
        device: Where to compute.
        layout: As a recipe's ``data.layout``.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Raises:
        CheckpointError: The folder is no checkpoint, or its weights are torn.
        DataError: The data cannot be used, or holds classes that the model does not know.
    """
    model = load_model(checkpoint).to(device)
    preprocessing = Preprocessing.of_model(model)
    found = find_splits(data, layout)
    parts = {name: scan_folder(path) for name, path in found.items()}
    parts = parts or {"all": scan_folder(data, wrapped=layout == "classes")}
    temperature = read_temperature(read_config(checkpoint)) or 1.0
    seen, rows = {}, []
    for name, samples in parts.items():
        decoded, images = decode(samples, preprocessing, broken="skip", cache=cache, console=console)
        seen[name] = decoded
        rows.append(_run(model, images, preprocessing, device, console, f"running the model: {name}"))
    features, mirrored, logits = (torch.cat(columns) for columns in zip(*rows, strict=True))
    signatures = [samples.signatures for samples in seen.values()]
    return SeenImages(
        parts=seen,
        classes=named_labels(getattr(model, "pretrained_cfg", None) or {}) or next(iter(seen.values())).classes,
        split=torch.cat([torch.full((len(samples),), i) for i, samples in enumerate(seen.values())]),
        labels=torch.cat([known_labels(samples, model) for samples in seen.values()]),
        features=features,
        mirrored=mirrored,
        probabilities=(logits / temperature).softmax(-1),
        signatures=torch.cat([each for each in signatures if each is not None]),
    )


@torch.inference_mode()
def _run(
    model: nn.Module,
    images: Tensor,
    preprocessing: Preprocessing,
    device: torch.device,
    console: Console | None,
    title: str,
) -> tuple[Tensor, Tensor, Tensor]:
    batches = torch.split(images, evaluation_rows(preprocessing))
    shown = console is not None and console.is_terminal
    parts = []
    for part in track(batches, title, console=console, transient=True, disable=not shown):
        pixels = preprocessing.normalise(part.to(device))
        features, logits = embed_and_classify(model, pixels)
        mirrored, _ = embed_and_classify(model, pixels.flip(-1))
        parts.append((F.normalize(features, dim=1).cpu(), F.normalize(mirrored, dim=1).cpu(), logits.cpu()))
    first, second, third = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return first, second, third
