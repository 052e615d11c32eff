"""Keep training images beside a checkpoint, by which its answers are explained (`ait.interpret.exemplars`)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ait.interpret.embedding import embed_and_classify
from ait.interpret.exemplars import Exemplars, per_class, thumbnail
from training.data.preprocessing import Preprocessing
from training.evaluation.scoring import evaluation_rows
from training.seeds import stream


class Candidates(NamedTuple):
    """The training images that exemplars are chosen from, N of them.

    Attributes:
        take: From positions, (n,) int64, to the images there, (n, C, H, W) uint8 of the model's input size.
        labels: (N,) int64.
        names: One per image.
    """

    take: Callable[[Tensor], Tensor]
    labels: Tensor
    names: Sequence[str]


class Embedded(NamedTuple):
    """What a model makes of N images.

    Attributes:
        features: (N, F) float32, as `ait.interpret.embedding` says.
        logits: (N, classes) float32.
    """

    features: Tensor
    logits: Tensor


def choose_exemplars(labels: Tensor, count: int, seed: int) -> Tensor:
    """Choose at most `count` images of every class, as a pure function of the arguments.

    Args:
        labels: (N,) int64.
        count: Images per class.
        seed: Which are chosen.

    Returns:
        Their positions, sorted, (n,) int64.
    """
    order = torch.randperm(len(labels), generator=stream(seed, 0, "exemplars"))
    chosen = [order[labels[order] == label][:count] for label in torch.unique(labels).tolist()]
    return torch.cat(chosen).sort().values


@torch.inference_mode()
def keep_exemplars(
    folder: Path,
    model: nn.Module,
    candidates: Candidates,
    preprocessing: Preprocessing,
    device: torch.device,
    count: int,
    seed: int,
    embedded: Embedded | None = None,
) -> int:
    """Choose some of the training images, and write them and what the model makes of them beside its checkpoint.

    Args:
        folder: The checkpoint's.
        model: Its model, on `device`; it is put into evaluation mode and left so.
        candidates: The training images to choose from.
        preprocessing: How to normalise.
        device: Where to compute.
        count: Images per class, at least 1; fewer are kept where the file would grow beyond bounds.
        seed: Which are chosen.
        embedded: What the model makes of all candidates, where that is known; None computes it of the chosen ones.

    Returns:
        Images kept; 0, and no file, if there are so many classes that one image of each would be too many.

    Raises:
        OSError: The file cannot be written.
    """
    model.eval()
    labels = candidates.labels
    count = per_class(count, int(labels.max()) + 1, _width(model, preprocessing, device, embedded))
    if not count:
        return 0
    positions = choose_exemplars(labels, count, seed)
    answers, thumbnails = [], []
    for part in torch.split(positions, evaluation_rows(preprocessing)):
        images = candidates.take(part)
        if embedded is None:
            features, logits = embed_and_classify(model, preprocessing.normalise(images.to(device)))
            answers.append((features.cpu(), logits.cpu()))
        else:
            answers.append((embedded.features[part], embedded.logits[part]))
        thumbnails += [thumbnail(image) for image in images]
    Exemplars(
        torch.cat([features for features, _ in answers]),
        torch.cat([logits for _, logits in answers]),
        labels[positions],
        tuple(candidates.names[position] for position in positions.tolist()),
        tuple(data for data, _ in thumbnails),
        tuple(size for _, size in thumbnails),
    ).save(folder)
    return len(positions)


def _width(model: nn.Module, preprocessing: Preprocessing, device: torch.device, embedded: Embedded | None) -> int:
    if embedded is not None:
        return embedded.features.shape[1]
    features, _ = embed_and_classify(model, torch.zeros(1, *preprocessing.input_size, device=device))
    return features.shape[1]
