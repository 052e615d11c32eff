"""How good a checkpoint is on a folder of images."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import timm
import torch
from rich.console import Console
from safetensors import SafetensorError
from torch import Tensor, nn
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAccuracy, MulticlassConfusionMatrix

# Registers the ait_* models with timm.
import ait  # noqa: F401
from training.data import LabelledImages, Preprocessing, decode, open_evaluation
from training.errors import CheckpointError, DataError
from training.report import draw_confusion
from training.scoring import predict


@dataclass(frozen=True)
class EvaluationResult:
    """A checkpoint's answers on a set of images.

    Attributes:
        images: How many were seen, all of the folder's.
        top1: Share of images whose first label is right.
        top5: Share of images whose label is among the first five (or all, of fewer classes).
        per_class: Share of right answers among each class's images; classes without images are left out.
        classes: Names by label.
        confusion: (classes, classes) int64, rows true, columns predicted.
    """

    images: int
    top1: float
    top5: float
    per_class: dict[str, float]
    classes: tuple[str, ...]
    confusion: Tensor = field(repr=False)

    def to_json(self) -> dict[str, Any]:
        """The result as JSON can hold it."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "per_class": self.per_class,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }


def evaluate(
    checkpoint: str | Path,
    data_root: str | Path | None,
    *,
    source: str = "folder",
    only: str | Path | None = None,
    confusion_png: Path | None = None,
    device: torch.device | str | None = None,
    cache: Path | None = None,
    console: Console | None = None,
) -> EvaluationResult:
    """Score a checkpoint on every image of a folder.

    Decoding, normalisation and batches are those of the validation in training, so a checkpoint that the
    trainer reported an accuracy for gets the same here.

    Args:
        checkpoint: timm ``local-dir`` folder, such as a run's ``best``.
        data_root: Class folders, or a folder with ``val/`` or ``test/`` in it, which is then used; or what
            `source` asks for.
        source: What `data_root` holds, as the recipe's ``data.source``.
        only: A text file of image names (of files, paths relative to the folder of classes), one a line, such
            as a run's ``validation.txt`` where images were held out of the training images.
        confusion_png: Where to draw the confusion matrix; None draws none.
        device: Where to compute; None takes an accelerator where there is one.
        cache: Folder of decoded images; None takes the user's cache folder.
        console: Where progress is shown; None shows none.

    Raises:
        CheckpointError: The folder is no checkpoint, or its weights are torn.
        DataError: The data folder cannot be used, or holds classes the model does not know.
    """
    model = load_checkpoint(checkpoint)
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = model.to(place)
    samples = open_evaluation(source, data_root, only)
    classes = checkpoint_classes(model)
    labels = _labels(samples, classes, int(getattr(model, "num_classes", 0)))
    classes = classes or samples.classes
    preprocessing = Preprocessing.of_model(model)
    _, images = decode(samples, preprocessing, cache=cache, console=console)

    count = len(classes)
    metrics = MetricCollection(
        {
            "confusion": MulticlassConfusionMatrix(count),
            "top5": MulticlassAccuracy(count, top_k=min(5, count), average="micro"),
        }
    ).to(place)
    done = 0
    for logits in predict(model, images, preprocessing, place):
        metrics.update(logits, labels[done : done + len(logits)].to(place))
        done += len(logits)
    values = metrics.compute()
    confusion = values["confusion"].cpu()
    right, totals = confusion.diag(), confusion.sum(dim=1)
    result = EvaluationResult(
        images=done,
        top1=int(right.sum()) / done,
        top5=float(values["top5"]),
        per_class={
            name: int(right[label]) / int(totals[label]) for label, name in enumerate(classes) if int(totals[label])
        },
        classes=classes,
        confusion=confusion,
    )
    if confusion_png is not None:
        draw_confusion(confusion, classes, confusion_png, title=f"{result.top1:.2%} of {done} images")
    return result


def load_checkpoint(folder: str | Path) -> nn.Module:
    """Build the model of a timm ``local-dir`` folder, in evaluation mode.

    Raises:
        CheckpointError: The folder is no checkpoint, or its weights are torn or of another model.
    """
    folder = Path(folder)
    missing = [name for name in ("config.json", "model.safetensors") if not (folder / name).is_file()]
    if missing:
        raise CheckpointError(f"{folder} is not a checkpoint: it lacks {' and '.join(missing)}")
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except (KeyError, OSError, RuntimeError, SafetensorError, TypeError, ValueError) as error:
        raise CheckpointError(f"checkpoint {folder} cannot be loaded: {error}") from error
    return model.eval()


def checkpoint_classes(model: nn.Module) -> tuple[str, ...]:
    """The class names a checkpoint came with, by label; empty if it names none."""
    config: dict[str, Any] = getattr(model, "pretrained_cfg", None) or {}
    names = config.get("label_names") or ()
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    return tuple(str(name) for name in names)


def _labels(samples: LabelledImages, classes: tuple[str, ...], num_classes: int) -> Tensor:
    """The labels the model knows a set's classes by, (N,) int64."""
    if not classes:
        if len(samples.classes) != num_classes:
            raise DataError(
                f"{samples.origin} holds {len(samples.classes)} classes, the model knows {num_classes} "
                "and the checkpoint does not name them"
            )
        return samples.labels
    unknown = sorted(set(samples.classes) - set(classes))
    if unknown:
        raise DataError(f"{samples.origin} holds classes the model does not know: {', '.join(unknown[:5])}")
    known = torch.tensor([classes.index(name) for name in samples.classes], dtype=torch.int64)
    return known[samples.labels]
