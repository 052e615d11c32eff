"""Training images kept beside a checkpoint, by which its answers are explained (`ait.interpret.exemplars`)."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from ait.interpret.embedding import embed_and_classify
from ait.interpret.exemplars import Exemplars, per_class, thumbnail
from training.data.preprocessing import Preprocessing
from training.evaluation.scoring import EVALUATION_BATCH
from training.seeds import stream


def choose_exemplars(labels: Tensor, count: int, seed: int) -> Tensor:
    """Positions of at most `count` images of every class, sorted, (n,) int64: a pure function of the arguments.

    Args:
        labels: (N,) int64.
        count: Images a class.
        seed: Which are chosen.
    """
    order = torch.randperm(len(labels), generator=stream(seed, 0, "exemplars"))
    chosen = [order[labels[order] == label][:count] for label in labels.unique().tolist()]
    return torch.cat(chosen).sort().values


@torch.inference_mode()
def keep_exemplars(
    folder: Path,
    model: nn.Module,
    take: Callable[[Tensor], Tensor],
    labels: Tensor,
    names: Sequence[str],
    preprocessing: Preprocessing,
    device: torch.device,
    count: int,
    seed: int,
) -> int:
    """Choose some of the training images, and write them and what the model makes of them beside its checkpoint.

    Args:
        folder: The checkpoint's.
        model: Its model, on `device`; it is put into evaluation mode and left so.
        take: From positions, (n,) int64, to the images there, (n, C, H, W) uint8 of the model's input size.
        labels: Of all training images, (N,) int64.
        names: Of all training images.
        preprocessing: How to normalise.
        device: Where to compute.
        count: Images a class, at least 1; fewer are kept where the file would grow beyond bounds.
        seed: Which are chosen.

    Returns:
        Images kept; 0, and no file, if there are so many classes that one image of each would be too many.

    Raises:
        OSError: The file cannot be written.
    """
    model.eval()
    features, _ = embed_and_classify(model, torch.zeros(1, *preprocessing.input_size, device=device))
    count = per_class(count, int(labels.max()) + 1, features.shape[1])
    if not count:
        return 0
    positions = choose_exemplars(labels, count, seed)
    answers, pictures = [], []
    for part in positions.split(EVALUATION_BATCH):
        images = take(part)
        features, logits = embed_and_classify(model, preprocessing.normalise(images.to(device)))
        answers.append((features.cpu(), logits.cpu()))
        pictures += [thumbnail(image) for image in images]
    Exemplars(
        torch.cat([features for features, _ in answers]),
        torch.cat([logits for _, logits in answers]),
        labels[positions],
        tuple(names[position] for position in positions.tolist()),
        tuple(data for data, _ in pictures),
        tuple(size for _, size in pictures),
    ).save(folder)
    return len(positions)
