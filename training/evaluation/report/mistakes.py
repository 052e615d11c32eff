"""Show the images that a model is most wrongly sure of."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from torch import Tensor

from training.evaluation.report.figure import label_text, save_figure

_COLUMNS = 6


class Images(Protocol):
    """Images by position, each (C, H, W) uint8: a tensor (N, C, H, W), or anything that reads a file."""

    def __getitem__(self, index: int, /) -> Tensor: ...


@dataclass(frozen=True)
class Mistake:
    """A wrongly answered image.

    Attributes:
        index: Its position.
        true: Its label.
        given: The label it was given.
        confidence: Probability of the label it was given.
    """

    index: int
    true: int
    given: int
    confidence: float


def worst_mistakes(logits: Tensor, labels: Tensor, count: int = 24) -> list[Mistake]:
    """List the wrong answers of highest confidence, the most confident first.

    Args:
        logits: (N, classes).
        labels: (N,) int64.
        count: How many at most.
    """
    answers = logits.argmax(dim=1)
    wrong = (answers != labels).nonzero().flatten()
    confidence = logits[wrong].double().softmax(dim=1).amax(dim=1)
    order = confidence.argsort(descending=True, stable=True)[:count].tolist()
    chosen = [(int(wrong[place]), float(confidence[place])) for place in order]
    return [Mistake(index, int(labels[index]), int(answers[index]), sure) for index, sure in chosen]


def draw_mistakes(mistakes: Sequence[Mistake], images: Images, classes: Sequence[str], path: Path) -> None:
    """Draw a contact sheet: each image with its true label, the label it was given, and the confidence.

    Args:
        mistakes: At least one.
        images: By `Mistake.index`.
        classes: Names by label.
        path: PNG file, replaced atomically.
    """
    rows = -(-len(mistakes) // _COLUMNS)
    figure = Figure(figsize=(2.0 * _COLUMNS, 2.65 * rows), layout=ConstrainedLayoutEngine(h_pad=0.08))
    axes = figure.subplots(rows, _COLUMNS, squeeze=False).flatten()
    for axis in axes:
        axis.axis("off")
    for axis, mistake in zip(axes, mistakes, strict=False):
        pixels = to_pixels(images[mistake.index])
        axis.imshow(pixels, interpolation="nearest", cmap="gray", vmin=0, vmax=255)
        true, given = label_text(classes[mistake.true], 20), label_text(classes[mistake.given], 20)
        axis.set_title(f"true: {true}\ngiven: {given}\n{mistake.confidence:.1%} sure", fontsize=9, loc="left")
    save_figure(figure, path)


def to_pixels(image: Tensor) -> npt.NDArray[np.uint8]:
    """Turn an image into what matplotlib shows.

    Args:
        image: (C, H, W) uint8.

    Returns:
        (H, W, 3) uint8, or (H, W) where there are fewer than three channels.
    """
    image = image.cpu()
    shown: npt.NDArray[np.uint8] = (image[:3].permute(1, 2, 0) if len(image) >= 3 else image[0]).numpy()
    return shown
